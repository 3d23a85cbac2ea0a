"""Taking values out of texts, whatever form they have there."""

import json
from datetime import UTC, date, datetime
from typing import Annotated
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from streamwf import Masked
from streamwf.objects import Objects
from streamwf.redaction import MASK, UNTOLD, Redaction
from streamwf.telling import told
from tests.support import examples

SECRET = "4111-2222-3333"


class Card(BaseModel):
    number: Annotated[str, Masked]
    brand: str = "visa"


def test_values_are_taken_out_of_texts_in_every_form() -> None:
    secret = 'two\nlines, a "quote" & ümlauts/…'
    redaction = Redaction()
    redaction.add({"a": [secret], "b": b"bytes-\x00", "c": date(2030, 1, 2)})
    text = (
        f"{secret} | {secret!r} | {json.dumps(secret)} | {quote(secret)} | {[secret]}"
        f" | {b'bytes-%c' % 0!r} | {date(2030, 1, 2)} | {date(2030, 1, 2)!r}"
    )
    kept = redaction.of(text)
    assert kept.count(MASK) >= 8
    for piece in ("lines", "quote", "mlauts", "bytes", "2030"):
        assert piece not in kept


def test_a_value_is_taken_as_it_is_and_as_it_is_stored() -> None:
    class Timed(BaseModel):
        at: Annotated[datetime, Masked]

    redaction = Objects("w", Timed).redaction(b'{"at":"2030-01-02T03:04:05Z"}')
    at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert redaction.of(f"{at} and 2030-01-02T03:04:05Z") == f"{MASK} and {MASK}"


def test_short_texts_and_numbers_are_taken_out_where_they_stand_alone() -> None:
    redaction = Redaction()
    redaction.add(["ab", 7, 1.5, -3, 12345])
    assert redaction.of("12345 123456") == f"{MASK} 123456"
    assert redaction.of("ab abc x_ab 7 17 7.5 7. (7) 1.5 11.5 1.55 -3 pin=7") == (
        f"{MASK} abc x_{MASK} {MASK} 17 7.5 {MASK}. ({MASK}) {MASK} 11.5 1.55 {MASK} pin={MASK}"
    )


def test_truth_and_nothing_are_in_every_text_and_stay() -> None:
    redaction = Redaction()
    redaction.add([True, None, ""])
    assert redaction.of("True None") == "True None"


def test_the_longest_goes_first() -> None:
    redaction = Redaction()
    redaction.add(["4111", "4111-2222"])
    assert redaction.of("4111-2222 and 4111") == f"{MASK} and {MASK}"


def test_what_pydantic_tells_of_an_input_goes_too() -> None:
    with pytest.raises(ValueError, match="input_value") as caught:
        Card.model_validate({"number": 12345678901234567890, "brand": "x" * 100})
    kept = Redaction().of(str(caught.value))
    assert "1234567" not in kept
    assert f"input_value={MASK}, input_type=int" in kept


def test_when_values_are_unknown_nothing_is_told() -> None:
    objects = Objects("w", Card)
    redaction = objects.redaction(b'{"number":"1"}', Card.model_construct(number=object()))
    assert redaction.of("anything") == UNTOLD
    assert redaction.of("") == ""


def test_an_object_of_another_type_is_looked_through_by_what_becomes_of_it() -> None:
    redaction = Objects("w", Card).redaction(b"null", {"number": SECRET}, {"number": ["x-9876"]})
    assert redaction.of(f"{SECRET} x-9876") == f"{MASK} {MASK}"


@examples(300)
@given(st.text(st.characters(exclude_characters="•"), min_size=4), st.text(max_size=5))
def test_no_text_holds_a_secret(secret: str, around: str) -> None:
    redaction = Redaction()
    redaction.add(secret)
    kept = redaction.of(f"{around}{secret}{around} {secret!r} {json.dumps(secret)}")
    for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
        assert form not in kept.replace(MASK, "•") or not form.strip()


def test_a_text_is_cut_after_it_was_looked_through() -> None:
    redaction = Redaction()
    redaction.add("x" * 1_000)
    said = told(ValueError("a" * 1_500 + "x" * 1_000), redaction.of)
    assert "xxxx" not in said["errormessage"]
    assert "xxxx" not in said["errortrace"]
