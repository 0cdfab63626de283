"""The edit history of a picture on the page: its strokes, its steps, and the current position. Each change is an event, which a
journal records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from psal_cli.errors import InvalidValueError
from psal_cli.image.strokes import MOST_STROKES, Brush, Outline, Stroke, parsed, record_of

INPAINT, COLORIZE = "inpaint", "colorize"  # the kinds of steps
MOST_POINTS = 400_000  # in all strokes of one run

Event = Mapping[str, object]


class StaleError(InvalidValueError):
    """A change was made to an old revision: another tab has changed the picture since."""


@dataclass
class StrokeList:
    """Strokes painted on one state of the picture. at: how many of them are in effect; the rest were undone. carried: how many
    were carried over from the previous state, where a run used them."""

    strokes: list[Stroke] = field(default_factory=list)
    at: int = 0
    carried: int = 0

    @property
    def current(self) -> list[Stroke]:
        return self.strokes[: self.at]

    @property
    def waits(self) -> bool:
        """Whether some strokes have not been used by a run. Colours carried over have."""
        return len(self.strokes) > self.carried or any(stroke.layer != "hint" for stroke in self.strokes)


@dataclass(frozen=True)
class Variant:
    """One result of a step. seed: of its random numbers; file: its change, in the state folder."""

    seed: int
    file: str


@dataclass
class Step:
    """A run of a verb. kind: INPAINT or COLORIZE; options: as given; pixels: how many changed; box: left, top, width, height of
    the part that contains them; strokes: how many the run used."""

    kind: str
    options: dict[str, object]
    pixels: int
    box: tuple[int, int, int, int]
    variants: list[Variant]
    chosen: int = 0
    strokes: int = 0


class Document:
    """The strokes of each state of a picture and the steps between the states.

    State 0 is the picture as opened, state k the picture after k steps. `lists[k]` was painted on state k.

    Attributes:
        position: the state that is shown.
        saved: the fingerprint of the last picture saved.
        revision: grows with each change.
    """

    def __init__(self, note: Callable[[Event], None] = lambda event: None):
        """note: called with each change."""
        self.lists, self.steps = [StrokeList()], list[Step]()
        self.position = self.revision = 0
        self.saved = ""
        self.note = note

    @property
    def here(self) -> StrokeList:
        return self.lists[self.position]

    def add(self, at: int, strokes: Sequence[Stroke]) -> None:
        """Replaces the strokes from number `at` on, and discards later steps."""
        own = self.here
        self._within("at", at, len(own.strokes))
        kept = own.strokes[:at] + list(strokes)
        if len(kept) > MOST_STROKES:
            raise InvalidValueError("strokes", len(kept), f"at most {MOST_STROKES}: run or clear first")
        if sum(map(_points, kept)) > MOST_POINTS:
            raise InvalidValueError("strokes", f"{sum(map(_points, kept))} points", f"at most {MOST_POINTS}: run or clear first")
        own.strokes, own.at, own.carried = kept, len(kept), min(own.carried, at)
        self._forget_later()
        self._changed({"do": "add", "at": at, "strokes": [record_of(stroke) for stroke in strokes]})

    def move(self, at: int) -> None:
        """Undoes or redoes strokes until `at` of them are in effect."""
        self._within("at", at, len(self.here.strokes))
        self.here.at = at
        self._changed({"do": "move", "at": at})

    def finish(self, step: Step, ran: Sequence[Stroke]) -> None:
        """Adds a step made from the strokes `ran`, shows the state after it, and discards later steps.

        Strokes painted during the run move to the new state. So do colours, which the next run may need, and after a run of
        colorize all strokes.
        """
        own = self.here.current
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(own, ran, strict=False)))
        carried = [stroke for stroke in ran if step.kind == COLORIZE or stroke.layer == "hint"]
        kept = carried + own[same:]
        self._forget_later()
        self.lists[self.position] = StrokeList(list(ran), len(ran))
        step.strokes = len(ran)
        self.steps.append(step)
        self.lists.append(StrokeList(kept, len(kept), len(carried)))
        self.position += 1
        self._changed({"do": "finish", "step": step_record(step), "strokes": [record_of(stroke) for stroke in ran]})

    def vary(self, variants: Sequence[Variant]) -> None:
        """Adds results to the current step, chooses the first of them, and discards later steps."""
        step = self.last()
        step.chosen = len(step.variants)
        step.variants.extend(variants)
        self._forget_later()
        self._changed({"do": "vary", "variants": [[v.seed, v.file] for v in variants]})

    def choose(self, variant: int) -> None:
        """Chooses another result of the current step, and discards later steps."""
        self._within("variant", variant, len(self.last().variants) - 1)
        self.last().chosen = variant
        self._forget_later()
        self._changed({"do": "choose", "variant": variant})

    def last(self) -> Step:
        """The current step: it made the picture that is shown."""
        if not self.position:
            raise InvalidValueError("step", "missing", "a step that was run")
        return self.steps[self.position - 1]

    def _forget_later(self) -> None:
        del self.steps[self.position :], self.lists[self.position + 1 :]

    @property
    def fingerprint(self) -> str:
        """Identifies the picture that is shown. Empty for the picture as opened."""
        return " ".join(step.variants[step.chosen].file for step in self.steps[: self.position])

    @property
    def unsaved(self) -> bool:
        return self.fingerprint not in ("", self.saved)

    def was_saved(self, fingerprint: str) -> None:
        """Notes that the picture with that fingerprint was saved."""
        self.saved = fingerprint
        self._changed({"do": "saved", "fingerprint": fingerprint})

    def go(self, position: int) -> None:
        """Shows another state."""
        self._within("position", position, len(self.steps))
        for number in range(self.position, position):  # some may have been undone meanwhile
            self.lists[number].at = self.steps[number].strokes
        self.position = position
        self._changed({"do": "go", "position": position})

    def expect(self, revision: object) -> None:
        """Raises StaleError for any but the current revision."""
        if revision != self.revision:
            raise StaleError("revision", revision, str(self.revision))

    def _changed(self, event: Event) -> None:
        self.revision += 1
        self.note(event)

    @staticmethod
    def _within(what: str, value: int, most: int) -> None:
        if not 0 <= value <= most:
            raise InvalidValueError(what, value, f"a number from 0 to {most}")


def step_record(step: Step) -> dict[str, object]:
    """A step as JSON."""
    variants = [[variant.seed, variant.file] for variant in step.variants]
    return {
        "kind": step.kind,
        "options": step.options,
        "pixels": step.pixels,
        "box": list(step.box),
        "variants": variants,
        "chosen": step.chosen,
    }


def replayed(document: Document, event: Event) -> None:
    """Applies an event of a journal to a document. Raises ValueError, KeyError or TypeError if the event is invalid."""
    do = event["do"]
    if do == "add":
        document.add(_int(event["at"]), [parsed(record) for record in _list(event["strokes"])])
    elif do == "move":
        document.move(_int(event["at"]))
    elif do == "go":
        document.go(_int(event["position"]))
    elif do == "choose":
        document.choose(_int(event["variant"]))
    elif do == "vary":
        document.vary(_variants(event["variants"]))
    elif do == "finish":
        document.finish(_step(event["step"]), [parsed(record) for record in _list(event["strokes"])])
    elif do == "saved":
        document.was_saved(str(event["fingerprint"]))
    else:
        raise ValueError(f"unknown event {do!r}")


def _step(record: object) -> Step:
    if not isinstance(record, Mapping) or not isinstance(record["options"], dict):
        raise TypeError("not a step")
    left, top, width, height = map(_int, _list(record["box"]))
    box = (left, top, width, height)
    variants = _variants(record["variants"])
    return Step(str(record["kind"]), record["options"], _int(record["pixels"]), box, variants, _int(record["chosen"]))


def _variants(value: object) -> list[Variant]:
    pairs = [_list(pair) for pair in _list(value)]
    return [Variant(_int(seed), str(file)) for seed, file in pairs]


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def _points(stroke: Stroke) -> int:
    if isinstance(stroke, Brush):
        return len(stroke.points)
    return len(stroke.corners) if isinstance(stroke, Outline) else 1
