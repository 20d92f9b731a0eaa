"""`netlab completion`: scripts that teach a shell netlab's words."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from netlab.cli.frame import add_verb, make_app

app = make_app()

_BASH = r"""# netlab completion for bash
_netlab() {
    local line value files=
    COMPREPLY=()
    while IFS= read -r line; do
        value=${line%%$'\t'*}
        if [[ $value == :files ]]; then
            files=1
        else
            COMPREPLY+=("$(printf '%q' "$value")")
        fi
    done < <(_NETLAB_COMPLETE=bash "${COMP_WORDS[0]}" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [[ -n $files ]] && compopt -o default
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/:] ]] && compopt -o nospace
    return 0
}
complete -F _netlab netlab netlab-vm
"""

_ZSH = r"""#compdef netlab netlab-vm
# netlab completion for zsh
_netlab() {
    local line value files
    local -a found
    while IFS= read -r line; do
        value=${line%%$'\t'*}
        if [[ $value == :files ]]; then
            files=1
        elif [[ $line == *$'\t'* ]]; then
            found+=("${value//:/\\:}:${line#*$'\t'}")
        else
            found+=("${value//:/\\:}")
        fi
    done < <(_NETLAB_COMPLETE=zsh "${words[1]}" "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#found} )) && _describe netlab found
    [[ -n $files ]] && _files
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _netlab "$@"
else
    compdef _netlab netlab netlab-vm
fi
"""

_FISH = r"""# netlab completion for fish
function __netlab_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (env _NETLAB_COMPLETE=fish $words[1] $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete --command netlab --no-files --arguments '(__netlab_complete)'
complete --command netlab-vm --no-files --arguments '(__netlab_complete)'
"""


class Shell(StrEnum):
    """A shell that can be taught."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


SCRIPTS = {Shell.bash: _BASH, Shell.zsh: _ZSH, Shell.fish: _FISH}


@add_verb(
    app,
    examples=(
        ("source <(netlab completion bash)", "this bash"),
        (
            "netlab completion bash > ~/.local/share/bash-completion/completions/netlab",
            "every bash",
        ),
        ("netlab completion zsh > ~/.zfunc/_netlab", "zsh, where ~/.zfunc is in fpath"),
        ("netlab completion fish > ~/.config/fish/completions/netlab.fish", "fish"),
    ),
    codes=(0, 2),
)
def completion(shell: Annotated[Shell, typer.Argument(help="Whose script.")]) -> None:
    """Write a shell's completion script; it knows the running labs and their nodes."""
    print(SCRIPTS[shell], end="")
