"""The keys of a machine's keyboard, by the names that QEMU has for them, and what types a text.

Source: the enumeration QKeyCode in qapi/ui.json of QEMU; the layout is that of a US keyboard, which
is what a guest takes it for unless it was told otherwise.
"""

from __future__ import annotations

import string
from difflib import get_close_matches

from netlab.errors import InputError

_NAMES = """
shift shift_r alt alt_r ctrl ctrl_r meta_l meta_r menu compose caps_lock num_lock scroll_lock
esc tab ret spc backspace insert delete home end pgup pgdn left right up down
f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 print sysrq pause
1 2 3 4 5 6 7 8 9 0 a b c d e f g h i j k l m n o p q r s t u v w x y z
minus equal bracket_left bracket_right backslash semicolon apostrophe grave_accent comma dot
slash less asterisk
kp_0 kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 kp_divide kp_multiply kp_subtract kp_add
kp_enter kp_decimal kp_comma kp_equals
stop again props undo front copy open paste find cut lf help
ro hiragana henkan yen muhenkan katakanahiragana lang1 lang2
power sleep wake audionext audioprev audiostop audioplay audiomute volumeup volumedown
mediaselect mail calculator computer ac_home ac_back ac_forward ac_refresh ac_bookmarks
"""

KEYS = frozenset(_NAMES.split())
"""Every key that QEMU 7.2 knows."""

_PLAIN = {
    **{character: character for character in string.digits + string.ascii_lowercase},
    "-": "minus",
    "=": "equal",
    "[": "bracket_left",
    "]": "bracket_right",
    "\\": "backslash",
    ";": "semicolon",
    "'": "apostrophe",
    "`": "grave_accent",
    ",": "comma",
    ".": "dot",
    "/": "slash",
    " ": "spc",
    "\n": "ret",
    "\t": "tab",
    "\b": "backspace",
    "\x1b": "esc",
}

_SHIFTED = {
    upper: _PLAIN[lower]
    for upper, lower in zip(
        '_+{}|:"~<>?)!@#$%^&*(' + string.ascii_uppercase,
        "-=[]\\;'`,./" + string.digits + string.ascii_lowercase,
        strict=True,
    )
}

Chord = tuple[str, ...]
"""Keys that are held down together: pressed in this order, released in the other."""


def read_chord(text: str) -> Chord:
    """Return the keys of a chord such as ``ctrl-alt-delete``.

    Raises:
        InputError: There is no such key.
    """
    chord = tuple(text.split("-"))
    for name in chord:
        if name not in KEYS:
            close = get_close_matches(name.lower(), sorted(KEYS), n=1)
            hint = f"did you mean {close[0]!r}?" if close else "keys are named as QEMU names them"
            raise InputError(f"{text!r}: there is no key {name!r}", hint=hint)
    return chord


def find_chords(text: str) -> tuple[Chord, ...]:
    """Return what types a text on a US keyboard, a chord for each character.

    Raises:
        InputError: The keyboard has no such character; all that are missing are named.
    """
    missing = sorted({one for one in text if one not in _PLAIN and one not in _SHIFTED})
    if missing:
        named = ", ".join(map(repr, missing))
        raise InputError(
            f"a US keyboard cannot type {named}", hint="copy_to() or the agent take any text"
        )
    return tuple((_PLAIN[one],) if one in _PLAIN else ("shift", _SHIFTED[one]) for one in text)
