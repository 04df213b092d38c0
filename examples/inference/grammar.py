"""A small world to write about: questions and answers on twelve trades, from a grammar, as many as one likes.

The public text of this folder (corpus.txt) was written with seed "public"; a validator writes its own with a secret
one, so that text exists which no miner has seen. `python grammar.py > corpus.txt` writes the public text again.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

PUBLIC_DOCUMENTS: Final = 260


@dataclass(frozen=True, slots=True)
class Trade:
    """Words of one topic. Each verb is both past tense and participle."""

    people: tuple[str, ...]
    things: tuple[str, ...]
    verbs: tuple[str, ...]
    places: tuple[str, ...]
    qualities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One question with one answer."""

    question: str
    answer: str


def _trade(people: str, things: str, verbs: str, places: str, qualities: str) -> Trade:
    def listed(text: str) -> tuple[str, ...]:
        return tuple(item.strip() for item in text.split(","))

    return Trade(listed(people), listed(things), listed(verbs), listed(places), listed(qualities))


TRADES: Final = {
    "bakery": _trade(
        "baker, apprentice, miller, pastry cook, oven keeper",
        "dough, rye loaf, oven, flour sack, yeast jar, crust, rolling pin, honey cake, bread basket",
        "kneaded, baked, floured, folded, sliced, tasted, glazed, cooled",
        "beside the hot oven, in the flour room, on the marble table, behind the counter, under the proving cloth",
        "warm, crisp, sour, golden, sticky, sweet, burnt, airy",
    ),
    "harbour": _trade(
        "harbour master, diver, fisher, pilot, lighthouse keeper",
        "ferry, anchor, mooring rope, net, lantern, hull, rudder, tide table, crane",
        "moored, hauled, tarred, anchored, steered, unloaded, rigged, patched",
        "along the quay, out past the breakwater, under the pier, on the wet deck, near the slipway",
        "salty, rusty, seaworthy, leaky, barnacled, foggy, tidal, steep",
    ),
    "orchard": _trade(
        "gardener, beekeeper, picker, cider maker, grafter",
        "apple tree, pear, beehive, ladder, blossom, root, pruning knife, crate, hedge",
        "pruned, picked, grafted, watered, planted, pressed, thinned, mulched",
        "between the rows, at the south wall, below the old pear tree, in the cider shed, over the meadow",
        "ripe, bitter, juicy, crooked, wormy, fragrant, mossy, frosted",
    ),
    "observatory": _trade(
        "astronomer, lens grinder, night assistant, chart maker, student of comets",
        "telescope, comet, star chart, dome, mirror, nebula, eyepiece, moon crater, spectrum",
        "observed, measured, focused, charted, polished, tracked, photographed, catalogued",
        "beneath the open dome, on the cold platform, in the dark room, above the horizon, at the eyepiece",
        "faint, distant, bright, cloudless, spiral, dim, double, celestial",
    ),
    "clinic": _trade(
        "doctor, nurse, surgeon, midwife, pharmacist",
        "bandage, fever, wound, syringe, patient, medicine, pulse, splint, thermometer",
        "bandaged, examined, treated, healed, stitched, vaccinated, weighed, diagnosed",
        "in the waiting room, next to the bed, inside the ward, at the pharmacy window, down the clean corridor",
        "swollen, healthy, feverish, pale, sterile, painful, tender, infected",
    ),
    "railway": _trade(
        "engine driver, signalman, conductor, track worker, station clerk",
        "locomotive, signal, carriage, timetable, ticket, rail, boiler, whistle, freight train",
        "coupled, shunted, signalled, oiled, stoked, punched, delayed, braked",
        "on platform two, inside the tunnel, at the level crossing, along the siding, in the signal box",
        "punctual, steaming, crowded, late, iron, rattling, express, empty",
    ),
    "library": _trade(
        "librarian, bookbinder, reader, archivist, translator",
        "manuscript, shelf, atlas, catalogue card, dictionary, ink pot, spine, novel, map drawer",
        "read, bound, lent, copied, translated, shelved, annotated, stamped",
        "in the reading hall, between the tall shelves, under the green lamp, at the lending desk, in the archive",
        "dusty, rare, leather, unread, overdue, quiet, illustrated, torn",
    ),
    "smithy": _trade(
        "blacksmith, striker, farrier, bell founder, charcoal burner",
        "anvil, horseshoe, hammer, bellows, iron bar, chisel, gate hinge, bronze bell, tongs",
        "forged, hammered, quenched, heated, welded, tempered, bent, riveted",
        "at the glowing forge, over the anvil, in the quenching trough, by the coal heap, near the grindstone",
        "red hot, brittle, heavy, blunt, hardened, molten, sooty, twisted",
    ),
    "theatre": _trade(
        "actor, stage hand, director, costume maker, prompter",
        "curtain, mask, costume, script, spotlight, scenery, applause, trapdoor, velvet seat",
        "rehearsed, performed, sewed, painted, applauded, whispered, staged, memorised",
        "behind the curtain, in the front row, on the revolving stage, up in the gallery, inside the dressing room",
        "tragic, comic, masked, theatrical, spotlit, silent, painted, famous",
    ),
    "dairy": _trade(
        "shepherd, cheese maker, milkmaid, herdsman, butter seller",
        "cheese wheel, milk churn, goat, cream, butter mould, rennet, udder, pasture, cowbell",
        "milked, churned, curdled, salted, strained, grazed, skimmed, ripened",
        "in the cheese cellar, up on the pasture, inside the milking shed, across the stream, on the wooden rack",
        "creamy, mouldy, fresh, woolly, mild, grassy, smoked, crumbly",
    ),
    "mine": _trade(
        "miner, surveyor, geologist, shaft foreman, ore sorter",
        "shaft, pickaxe, silver vein, cart, timber prop, helmet lamp, ore, pump, gallery wall",
        "dug, blasted, drained, hoisted, surveyed, crushed, sifted, propped",
        "deep in the shaft, at the rock face, along the lower gallery, by the winding wheel, below the water line",
        "dark, flooded, glittering, narrow, solid, unstable, metallic, muddy",
    ),
    "post office": _trade(
        "postman, telegraph clerk, letter sorter, courier, stamp engraver",
        "letter, parcel, stamp, telegram, mailbag, envelope, address book, seal, bicycle",
        "delivered, sorted, sealed, posted, forwarded, franked, weighed out, returned",
        "at the sorting table, on the morning round, through the brass slot, in the village street, under the arch",
        "urgent, registered, anonymous, foreign, express, undelivered, folded, handwritten",
    ),
}

NAMES: Final = (
    "Ada", "Bruno", "Clara", "Dario", "Elsa", "Felix", "Greta", "Hugo", "Ines", "Jonas",
    "Kira", "Leo", "Mina", "Nils", "Olga", "Paul", "Rosa", "Sven", "Tilda", "Viktor",
)  # fmt: skip
TIMES: Final = (
    "in the morning", "last winter", "before sunrise", "on market day", "after the storm", "every autumn",
    "late at night", "during the holidays", "one cold evening", "at noon", "for three weeks", "in early spring",
)  # fmt: skip
MANNERS: Final = (
    "slowly", "with great care", "without a word", "in a hurry", "by hand", "twice", "as usual", "with a smile",
    "rather late", "for the first time", "very gently", "against all advice",
)  # fmt: skip
REASONS: Final = (
    "there was no time to lose", "the old way had failed", "everybody was waiting", "it had rained for days",
    "nobody else knew how", "the price had gone up again", "a mistake would be costly", "the work had to be shown",
    "the light was fading", "two helpers were ill", "strangers were expected", "it was a promise",
)  # fmt: skip
FEELINGS: Final = (
    "proud", "tired", "pleased", "worried", "surprised", "calm", "curious", "relieved", "impatient", "grateful",
)  # fmt: skip

QUESTIONS: Final = (
    "What did the {person} do with the {thing} {time}?",
    "Why was the {thing} so {quality}?",
    "How does {name} look after the {thing}?",
    "Tell me about the {person} and the {thing}.",
    "Where did {name} leave the {thing} {time}?",
    "Who {verb} the {thing} {place}?",
    "Can the {person} show {name} the {quality} {thing}?",
    "What happened {place} {time}?",
)

OPENINGS: Final = (
    "{Time} the {person} {verb} the {quality} {thing} {place}.",
    "The {thing} was {verb} {manner}, because {reason}.",
    "{name} asked the {person} about the {thing}, and it was {verb} {time}.",
    "It was the {person} who {verb} the {thing}, {place}, and {manner} too.",
    "{Time} {name} found the {thing} {place}, still {quality}.",
    "The {person} was {feeling}, for the {quality} {thing} had been {verb} {manner}.",
)
SENTENCES: Final = (
    "Then the {other_person} {other_verb} the {other_thing} {place}.",
    "The {other_thing} looked {quality}, but the {third_thing} did not.",
    "{name} was {feeling} when the {other_thing} had been {other_verb}.",
    "{Time} nobody {other_verb} the {third_thing}, because {reason}.",
    "A {other_quality} {other_thing} has to be {other_verb} {manner}.",
    "They {other_verb} the {third_thing} and {verb} the {other_thing} {time}.",
    "If the {third_thing} is {quality}, the {person} must wait {place}.",
    "The {other_person} said that the {third_thing} should be {other_quality} {time}.",
    "{manner_first} the {person} {other_verb} what was left of the {other_thing}.",
    "Neither {name} nor the {other_person} had ever {verb} the {third_thing} {manner}.",
    "So the {quality} {thing} stayed {place} until {name} {other_verb} it.",
    "Most of the {other_thing} was {other_quality}, and {reason}.",
    "The {other_person} brought the {third_thing} to the {person} {manner}.",
    "In the end the {thing} was {other_quality}, and {name} was {feeling}.",
)


def document(rng: Random, sentences: int | None = None) -> Document:
    """One question and its answer. About `sentences` sentences, 5 to 7 when None."""
    trade = TRADES[rng.choice(list(TRADES))]
    topic = {"person": rng.choice(trade.people), "thing": rng.choice(trade.things), "name": rng.choice(NAMES)}
    topic |= {"time": rng.choice(TIMES), "quality": rng.choice(trade.qualities), "verb": rng.choice(trade.verbs)}
    topic |= {"place": rng.choice(trade.places)}
    question = rng.choice(QUESTIONS).format(**topic)
    written = [_filled(rng.choice(OPENINGS), topic, trade, rng)]
    for template in rng.sample(SENTENCES, (sentences or rng.randint(5, 7)) - 1):
        written.append(_filled(template, topic, trade, rng))
    return Document(question, " ".join(written))


def _filled(template: str, topic: dict[str, str], trade: Trade, rng: Random) -> str:
    """A sentence: words of the question where the template repeats them, else fresh ones of its trade."""
    other, third = rng.sample(trade.things, 2)
    manner, time = rng.choice(MANNERS), rng.choice(TIMES)
    words = {
        **topic,
        "other_person": rng.choice(trade.people),
        "other_thing": other,
        "third_thing": third,
        "other_verb": rng.choice(trade.verbs),
        "other_quality": rng.choice(trade.qualities),
        "place": rng.choice((topic["place"], rng.choice(trade.places), rng.choice(trade.places))),
        "quality": rng.choice((topic["quality"], rng.choice(trade.qualities))),
        "verb": rng.choice((topic["verb"], rng.choice(trade.verbs))),
        "time": time,
        "Time": time.capitalize(),
        "manner": manner,
        "manner_first": manner.capitalize(),
        "reason": rng.choice(REASONS),
        "feeling": rng.choice(FEELINGS),
    }
    return template.format(**words)


def documents(seed: str | bytes, count: int) -> list[Document]:
    """So many documents; equal seeds give equal ones."""
    rng = Random(seed)
    return [document(rng) for _ in range(count)]


def as_text(written: list[Document]) -> str:
    """Lines `Q: …` and `A: …`, an empty line after each pair."""
    return "".join(f"Q: {one.question}\nA: {one.answer}\n\n" for one in written)


def from_text(text: str) -> list[Document]:
    """The reverse. Raises ValueError for other lines."""
    read = []
    for block in text.strip().split("\n\n"):
        question, _, answer = block.partition("\n")
        if not question.startswith("Q: ") or not answer.startswith("A: "):
            raise ValueError(f"expected lines Q: and A:, got {block[:40]!r}")
        read.append(Document(question[3:], answer[3:]))
    return read


if __name__ == "__main__":
    print(as_text(documents("public", PUBLIC_DOCUMENTS)), end="")
