"""Where boxes go: the same picture gives the same places, everywhere.

A ring becomes a circle and a line a line. Everything else is laid out by stress majorisation
(Gansner, Koren, North 2004): boxes are moved until their distances are as near as possible to their
distances along lines. It starts from a circle and from a wheel, and the better result is taken; no
chance is involved. Parts that hang together are laid out by themselves and put side by side.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from itertools import pairwise

from netlab.cli.drawing.model import Picture

Point = tuple[float, float]

SHARED_LENGTH = 0.75
"""Length of a line to a shared segment; 1 between nodes."""

WORK = 4_000_000
"""Distances looked at, at most: a large picture gets fewer rounds, a huge one stays a circle."""

ROUNDS = 150
ENOUGH_ROUNDS = 10

APART = 0.8
"""Boxes that have all their neighbours in common want to be at one place; they get this far."""


def place(picture: Picture) -> list[Point]:
    """Return the place of each box; a line between nodes is about 1 long, y grows downwards."""
    lengths = _lengths(picture)
    places: list[Point] = [(0.0, 0.0)] * len(picture.boxes)
    offset = 0.0
    for members in _components(lengths):
        local = _normalise(
            _place_component([_inside(lengths[index], members) for index in members])
        )
        for index, (x, y) in zip(members, local, strict=True):
            places[index] = (x + offset, y)
        offset += max(x for x, _ in local) + 1.0
    return places


def _lengths(picture: Picture) -> list[dict[int, float]]:
    """For each box, its neighbours and how long the line to them should be."""
    lengths: list[dict[int, float]] = [{} for _ in picture.boxes]
    for line in picture.lines:
        length = SHARED_LENGTH if picture.boxes[line.end].shared else 1.0
        lengths[line.start][line.end] = length
        lengths[line.end][line.start] = length
    return lengths


def _components(lengths: Sequence[dict[int, float]]) -> list[list[int]]:
    """Which boxes hang together; parts and members in order."""
    parts: list[list[int]] = []
    seen: set[int] = set()
    for start in range(len(lengths)):
        if start in seen:
            continue
        part, waiting = {start}, [start]
        while waiting:
            fresh = [each for each in lengths[waiting.pop()] if each not in part]
            part.update(fresh)
            waiting += fresh
        seen |= part
        parts.append(sorted(part))
    return parts


def _inside(lengths: dict[int, float], members: list[int]) -> dict[int, float]:
    """The same neighbours, numbered within their part."""
    position = {index: number for number, index in enumerate(members)}
    return {position[index]: length for index, length in lengths.items()}


def _place_component(lengths: list[dict[int, float]]) -> list[Point]:
    count = len(lengths)
    if count == 1:
        return [(0.0, 0.0)]
    walk = _walk(lengths)
    degrees = sorted(map(len, lengths))
    if degrees[-1] <= 2 and count > 2 and degrees[0] == 2:
        return _circle(walk, sum(sum(each.values()) for each in lengths) / 2)
    if degrees[-1] <= 2:
        return _straight(walk, lengths)
    rounds = min(ROUNDS, WORK // count**2)
    if rounds < ENOUGH_ROUNDS:
        return _circle(walk, float(count))
    distances = [_distances(lengths, start) for start in range(count)]
    starts = (_circle(walk, float(count)), _radial(walk, lengths, distances))
    results = [_majorise(start, distances, rounds) for start in starts]
    return _separate(_turn(min(results, key=lambda places: round(_stress(places, distances), 9))))


def _walk(lengths: list[dict[int, float]]) -> list[int]:
    """All boxes, depth first, from the first end of a line if there is one: rings come in order."""
    start = next((index for index, each in enumerate(lengths) if len(each) == 1), 0)
    order: list[int] = []
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        order.append(index)
        waiting += sorted(lengths[index], reverse=True)
    return order


def _circle(order: list[int], circumference: float) -> list[Point]:
    """Evenly on a circle, the first at the top, clockwise."""
    count = len(order)
    # Neighbours are a chord apart, not an arc: with three boxes that is a fifth of the length.
    radius = circumference / count / (2 * math.sin(math.pi / count))
    places: list[Point] = [(0.0, 0.0)] * count
    for number, index in enumerate(order):
        angle = 2 * math.pi * number / count
        places[index] = (radius * math.sin(angle), -radius * math.cos(angle))
    return places


def _radial(
    order: list[int], lengths: list[dict[int, float]], distances: list[list[float]]
) -> list[Point]:
    """Around the box with the most lines, each as far from it as its way is long."""
    centre = max(range(len(lengths)), key=lambda index: (len(lengths[index]), -index))
    around = [index for index in order if index != centre]
    places: list[Point] = [(0.0, 0.0)] * len(order)
    for number, index in enumerate(around):
        angle, far = 2 * math.pi * number / len(around), distances[centre][index]
        places[index] = (far * math.sin(angle), -far * math.cos(angle))
    return places


def _straight(order: list[int], lengths: list[dict[int, float]]) -> list[Point]:
    places: list[Point] = [(0.0, 0.0)] * len(order)
    x = 0.0
    for previous, index in pairwise(order):
        x += lengths[previous][index]
        places[index] = (x, 0.0)
    return places


def _distances(lengths: list[dict[int, float]], start: int) -> list[float]:
    """Dijkstra: the shortest way along lines from one box to each."""
    best = [math.inf] * len(lengths)
    best[start] = 0.0
    waiting = [(0.0, start)]
    while waiting:
        far, index = heapq.heappop(waiting)
        if far > best[index]:
            continue
        for neighbour, length in lengths[index].items():
            if far + length < best[neighbour]:
                best[neighbour] = far + length
                heapq.heappush(waiting, (far + length, neighbour))
    return best


def _majorise(start: list[Point], distances: list[list[float]], rounds: int) -> list[Point]:
    """Move each box to where all others want it, weighted by 1/distance, for some rounds."""
    places = list(start)
    for _ in range(rounds):
        for index, wanted in enumerate(distances):
            places[index] = _best_place(index, wanted, places)
    return places


def _best_place(index: int, wanted: list[float], places: list[Point]) -> Point:
    x, y = places[index]
    total = sum_x = sum_y = 0.0
    for other, (other_x, other_y) in enumerate(places):
        if other == index:
            continue
        distance = wanted[other]
        weight = 1 / distance
        gap_x, gap_y = x - other_x, y - other_y
        stretch = distance / (math.hypot(gap_x, gap_y) or 1e-9)
        sum_x += weight * (other_x + gap_x * stretch)
        sum_y += weight * (other_y + gap_y * stretch)
        total += weight
    return sum_x / total, sum_y / total


def _stress(places: list[Point], distances: list[list[float]]) -> float:
    return sum(
        (math.dist(places[index], places[other]) / wanted - 1) ** 2
        for index, row in enumerate(distances)
        for other, wanted in enumerate(row)
        if other != index
    )


def _turn(places: list[Point]) -> list[Point]:
    """Turn it so that it is as wide as it can be, and the first box is above the middle."""
    count = len(places)
    middle_x = sum(x for x, _ in places) / count
    middle_y = sum(y for _, y in places) / count
    centred = [(x - middle_x, y - middle_y) for x, y in places]
    across = sum(x * x - y * y for x, y in centred)
    mixed = 2 * sum(x * y for x, y in centred)
    # What is as wide as it is high, such as a star, has no direction: it keeps the one it has.
    size = sum(x * x + y * y for x, y in centred)
    angle = -math.atan2(mixed, across) / 2 if math.hypot(across, mixed) > size / 10 else 0.0
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = [(x * cosine - y * sine, x * sine + y * cosine) for x, y in centred]
    left = -1 if turned[0][0] > 1e-6 else 1
    up = -1 if turned[0][1] > 1e-6 else 1
    return [(x * left, y * up) for x, y in turned]


def _separate(places: list[Point]) -> list[Point]:
    """Push boxes apart that are too near to each other, for some rounds."""
    moved = list(places)
    for _ in range(min(20, WORK // len(places) ** 2)):
        for index, (x, y) in enumerate(moved):
            for other in range(index):
                gap_x, gap_y = x - moved[other][0], y - moved[other][1]
                distance = math.hypot(gap_x, gap_y)
                if distance >= APART:
                    continue
                push = (APART - distance) / 2
                along = (gap_x / distance, gap_y / distance) if distance > 1e-6 else (1.0, 0.0)
                x, y = x + along[0] * push, y + along[1] * push
                moved[other] = (
                    moved[other][0] - along[0] * push,
                    moved[other][1] - along[1] * push,
                )
            moved[index] = (x, y)
    return moved


def _normalise(places: list[Point]) -> list[Point]:
    """Put the upper left corner at the origin; rounded, so that every platform agrees."""
    left = min(x for x, _ in places)
    top = min(y for _, y in places)
    return [(round(x - left, 4) + 0.0, round(y - top, 4) + 0.0) for x, y in places]
