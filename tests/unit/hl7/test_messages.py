"""Reading ADT^A40, and answering: what hospital systems write, and what they should not."""

from __future__ import annotations

import hashlib
from typing import Any

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidi_gateway.hl7 import acknowledgment
from vidi_gateway.hl7.adt import read_merges
from vidi_gateway.hl7.merge import Identifier, PatientMerge
from vidi_gateway.hl7.message import read_header, unescape
from vidi_gateway.hl7.refusal import Reason, Refused

EVN = "EVN|A40|20261124120000"
PID = "PID|1||555^^^HOSP^MR||Everywoman^Eve^Eunice^III^Dr^PhD^L||19620320|F"
MRG = "MRG|123^^^HOSP^MR"


def msh(
    event: str = "ADT^A40^ADT_A39", *, charset: str = "UNICODE UTF-8", version: str = "2.5", control: str = "M1"
) -> str:
    return rf"MSH|^~\&|ADT1|HOSPITAL|VIDI|RADIOLOGY|20261124120000||{event}|{control}|P|{version}||||||{charset}"


def text(*segments: str) -> bytes:
    return "".join(s + "\r" for s in segments).encode()


def mac(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def read(data: bytes, processing_id: str = "P") -> list[PatientMerge]:
    return read_merges(data, read_header(data, "utf-8"), mac, processing_id=processing_id)


def refused(data: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        read(data)
    return caught.value


def test_a_merge_in_dicoms_terms() -> None:
    (merge,) = read(text(msh(), EVN, PID, MRG))
    assert merge.prior == Identifier("123", "HOSP")
    assert merge.surviving.identifier == Identifier("555", "HOSP")
    assert merge.surviving.name == "Everywoman^Eve^Eunice^Dr^III", "HL7 has the suffix before the prefix, DICOM after"
    assert (merge.surviving.birth_date, merge.surviving.sex) == ("19620320", "F")
    assert len(merge.message_id) <= 128


def test_nothing_of_a_patient_is_shown() -> None:
    (merge,) = read(text(msh(), EVN, PID, MRG))
    shown = repr(merge) + str(merge) + merge.message_id
    for secret in ("Everywoman", "555", "123^", "HOSP", "19620320"):
        assert secret not in shown


def test_several_pairs_in_their_order() -> None:
    second = "PID|2||777^^^HOSP||Other^One"
    merges = read(text(msh(), EVN, PID, "PD1||", MRG, "PV1|1", second, "MRG|8^^^HOSP~9^^^HOSP"))
    assert [(m.prior.id, m.surviving.identifier.id) for m in merges] == [("123", "555"), ("8", "777"), ("9", "777")]
    assert merges[1].surviving.birth_date == ""
    assert len({m.message_id for m in merges}) == 3


def test_identifiers_are_matched_by_authority_and_type() -> None:
    pid = "PID|||111^^^NAT^SS~555^^^HOSP^MR~556^^^HOSP^PI||A^B"
    (one,) = read(text(msh(), EVN, pid, "MRG|5^^^HOSP^PI"))
    assert one.surviving.identifier == Identifier("556", "HOSP")
    merges = read(text(msh(), EVN, pid, "MRG|5^^^HOSP^MR~9^^^NAT^SS"))
    assert [(m.prior.id, m.surviving.identifier.id) for m in merges] == [("5", "555"), ("9", "111")]


def test_a_universal_id_stands_in_for_a_missing_namespace() -> None:
    (merge,) = read(text(msh(), EVN, "PID|||55^^^&1.2.3.4&ISO||A^B", "MRG|1^^^&1.2.3.4&ISO"))
    assert merge.prior == Identifier("1", "1.2.3.4")


def test_one_side_without_an_authority_means_the_others() -> None:
    (merge,) = read(text(msh(), EVN, "PID|||55^^^HOSP||A^B", "MRG|1"))
    assert (merge.prior, merge.surviving.identifier) == (Identifier("1", "HOSP"), Identifier("55", "HOSP"))


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("UNICODE UTF-8", "utf-8", "Ångström^Zoë"),
        ("", "utf-8", "Ångström^Zoë"),
        ("8859/1", "latin-1", "Müller^Jürgen"),
        ("8859/5", "iso8859-5", "Люкceмбypг^Иван"),
        ("ASCII", "ascii", "Smith^John"),
        ("GB 18030-2000", "gb18030", "王^小东"),
        ("~ISO IR87", "iso2022_jp_2", "山田^太郎"),
        ("ISO IR14", "iso2022_jp_2", "山田^太郎"),
        ("KS X 1001", "euc_kr", "김^희중"),
        ("BIG-5", "big5", "王^小東"),
    ],
)
def test_character_sets(charset: str, codec: str, name: str) -> None:
    message = f"{msh(charset=charset)}\r{EVN}\rPID|||55||{name}\r{MRG}\r".encode(codec)
    (merge,) = read(message)
    assert merge.surviving.name == name


def test_ideographic_and_phonetic_names_become_groups() -> None:
    pid = "PID|||55||山田^太郎^^^^^L^I~Yamada^Tarou^^^^^L^A~やまだ^たろう^^^^^L^P"
    (merge,) = read(text(msh(), EVN, pid, "MRG|1"))
    assert merge.surviving.name == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_the_legal_name_is_preferred_and_delimiters_of_dicom_are_taken_out() -> None:
    (merge,) = read(text(msh(), EVN, r"PID|||55||Nick^Name^^^^^N~O\S\B=rien&von^A\E\B^^^^^L", "MRG|1"))
    assert merge.surviving.name == "O B rien^A B"


@pytest.mark.parametrize(
    ("said", "expected"),
    [("19620320", "19620320"), ("196203201530+0100", "19620320"), ("1962", ""), ("196213", ""), ("19621332", ""),
     ("", ""), ('""', ""), ("nonsense", ""), ("１９６２０３２０", "19620320"), ("00000000", "")],
)  # fmt: skip
def test_birth_dates(said: str, expected: str) -> None:
    (merge,) = read(text(msh(), EVN, f"PID|||55||A^B||{said}", "MRG|1"))
    assert merge.surviving.birth_date == expected


@pytest.mark.parametrize(
    ("said", "expected"), [("M", "M"), ("f", "F"), ("A", "O"), ("N", "O"), ("U", ""), ("", ""), ("X", "")]
)
def test_sexes(said: str, expected: str) -> None:
    (merge,) = read(text(msh(), EVN, f"PID|||55||A^B|||{said}", "MRG|1"))
    assert merge.surviving.sex == expected


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_line_ends(end: str) -> None:
    assert read((end.join((msh(), EVN, PID, MRG)) + end).encode())


def test_other_separators() -> None:
    message = r"MSH#*@\$#ADT1##VIDI##2026##ADT*A40#M1#P#2.3" + "\rPID###5\\F\\5***HOSP##A*B\rMRG#1***HOSP\r"
    (merge,) = read(message.encode())
    assert merge.surviving.identifier == Identifier("5#5", "HOSP")
    assert merge.surviving.name == "A^B"


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"\X41424A\x", "ABJx"),
        (r"\.sp999999999\x\.br\y", "xy"),
        (r"\H\bold\N\ ", "bold "),
        (r"\C2842\\M254A3\z", "z"),
        (r"\XFF00\z", "z"),
        ("open\\ended", "openended"),
        ("\\", ""),
    ],
)
def test_escape_sequences(escaped: str, expected: str) -> None:
    from vidi_gateway.hl7.message import Separators

    assert unescape(escaped, Separators()) == expected


def test_the_same_message_has_the_same_id_and_another_one_not() -> None:
    once, again = read(text(msh(), EVN, PID, MRG)), read(text(msh(), EVN, PID, MRG))
    assert once[0].message_id == again[0].message_id
    reused = read(text(msh(), EVN, PID, "MRG|124^^^HOSP^MR"))
    assert reused[0].message_id != once[0].message_id, "a control id that a sender uses again hides nothing"
    other = read(text(msh(control="M2"), EVN, PID, MRG))
    assert other[0].message_id != once[0].message_id


REFUSED: dict[str, tuple[bytes, Reason]] = {
    "another event": (text(msh("ADT^A08"), EVN, PID), Reason.EVENT),
    "A18": (text(msh("ADT^A18"), EVN, PID, MRG), Reason.EVENT),
    "A47": (text(msh("ADT^A47"), EVN, PID, MRG), Reason.EVENT),
    "an order": (text(msh("ORM^O01"), PID), Reason.MESSAGE),
    "version 3": (text(msh(version="3.0"), EVN, PID, MRG), Reason.VERSION),
    "training": (text(msh().replace("|P|2.5", "|T|2.5"), EVN, PID, MRG), Reason.PROCESSING),
    "no control id": (text(msh(control=""), EVN, PID, MRG), Reason.REQUIRED),
    "no MRG": (text(msh(), EVN, PID), Reason.SEGMENT),
    "no PID": (text(msh(), EVN, MRG), Reason.SEGMENT),
    "MRG before PID": (text(msh(), EVN, MRG, PID), Reason.SEGMENT),
    "two PIDs": (text(msh(), EVN, PID, PID, MRG), Reason.SEGMENT),
    "no surviving id": (text(msh(), EVN, "PID|1||^^^HOSP||A^B", MRG), Reason.REQUIRED),
    "null surviving id": (text(msh(), EVN, 'PID|1||""^^^HOSP||A^B', MRG), Reason.REQUIRED),
    "no prior id": (text(msh(), EVN, PID, "MRG|"), Reason.REQUIRED),
    "itself": (text(msh(), EVN, PID, "MRG|555^^^HOSP^MR"), Reason.DATA),
    "another authority": (text(msh(), EVN, PID, "MRG|1^^^OTHER"), Reason.DATA),
    "ambiguous": (text(msh(), EVN, "PID|||1^^^HOSP~2^^^HOSP||A", "MRG|3^^^HOSP"), Reason.DATA),
    "two priors, one authority missing": (text(msh(), EVN, PID, "MRG|3^^^HOSP^MR~4"), Reason.DATA),
    "long id": (text(msh(), EVN, "PID|||" + "9" * 65 + "||A^B", "MRG|1"), Reason.DATA),
    "backslash in id": (text(msh(), EVN, r"PID|||9\E\9||A^B", "MRG|1"), Reason.DATA),
    "unknown character set": (text(msh(charset="EBCDIC"), EVN, PID, MRG), Reason.DATA),
    "two character sets": (text(msh(charset="8859/1~8859/5"), EVN, PID, MRG), Reason.DATA),
    "not its character set": (text(msh(charset="ASCII"), EVN, PID.replace("Eve", "Ève"), MRG), Reason.DATA),
    "not UTF-8": (text(msh(), EVN, PID, MRG).replace(b"Eve", b"\xff\xfe"), Reason.DATA),
    "too many pairs": (text(msh(), EVN, *[PID, MRG] * 51), Reason.DATA),
    "too many segments": (text(msh(), EVN, PID, MRG, *["NTE|1"] * 600), Reason.DATA),
    "UTF-16": (text(msh(), EVN, PID, MRG).decode().encode("utf-16"), Reason.SEGMENT),
    "no message": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Reason.SEGMENT),
    "nothing": (b"", Reason.SEGMENT),
    "MSH alone": (b"MSH", Reason.SEGMENT),
    "MSH and a bar": (b"MSH|", Reason.SEGMENT),
    "twice the same separator": (b"MSH|^^^^|A|B\r", Reason.SEGMENT),
    "letters for separators": (b"MSHabcdea\r", Reason.SEGMENT),
    "no event": (text(msh("ADT"), EVN, PID, MRG), Reason.EVENT),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name: str) -> None:
    data, reason = REFUSED[name]
    error = refused(data)
    assert error.reason is reason
    for secret in ("Everywoman", "555", "HOSP", "1962"):
        assert secret not in error.text


def parsed(data: bytes) -> Any:
    return hl7.parse(data.decode())


def test_the_acknowledgment_as_another_program_reads_it() -> None:
    header = read_header(text(msh(control="C|D")), "utf-8")
    answer = parsed(acknowledgment.write(header))
    assert [str(answer["MSH"][0][i]) for i in (3, 4, 5, 6)] == ["VIDI", "RADIOLOGY", "ADT1", "HOSPITAL"]
    assert str(answer["MSH"][0][9]) == "ACK^A40"
    assert (str(answer["MSA"][0][1]), str(answer["MSA"][0][2])) == ("AA", "C")
    refusal = Refused(Reason.DATA, "a | in \\ our ^ text")
    answer = parsed(acknowledgment.write(header, refusal))
    assert str(answer["MSA"][0][1]) == "AE"
    assert answer.unescape(str(answer["MSA"][0][3])) == "a | in \\ our ^ text"
    assert str(answer["ERR"][0][3]) == "102^Data type error^HL70357"


def test_names_come_back_as_they_were_sent() -> None:
    data = text(msh(control="Nö-1").replace("HOSPITAL", "Spital Zürich"))
    answer = acknowledgment.write(read_header(data, "utf-8")).decode("utf-8")
    assert "|Spital Zürich|" in answer
    assert "MSA|AA|Nö-1\r" in answer
    assert "|UNICODE UTF-8\r" in answer, "and the answer says what it is written in"


def test_enhanced_mode_is_answered_in_its_codes() -> None:
    header = read_header(text(msh().replace("|2.5||||||", "|2.5|||AL|NE||")), "utf-8")
    assert header.enhanced
    assert b"MSA|CA|M1\r" in acknowledgment.write(header)
    assert b"MSA|CR|M1|" in acknowledgment.write(header, Refused(Reason.EVENT, "no"))


def test_a_message_that_cannot_be_read_is_answered_too() -> None:
    answer = parsed(acknowledgment.write(None, Refused(Reason.SEGMENT, "no HL7")))
    assert str(answer["MSA"][0][1]) == "AR"


def test_control_characters_do_not_break_the_answer_out_of_its_frame() -> None:
    header = read_header(text(msh(control="A\x1c\x0b\0B")), "utf-8")
    assert not {0x1C, 0x0B, 0} & set(acknowledgment.write(header))


SOUP = st.one_of(
    st.binary(max_size=2000),
    st.text(alphabet="MSHPIDRG|^~\\&ADTA40\r\n\"'é\0", max_size=2000).map(lambda s: s.encode()),
    st.lists(st.sampled_from([msh(), EVN, PID, MRG, "PID", "MRG|", "PID|||^^^~~&&&\\", "Z" * 300]), max_size=12).map(
        lambda segments: text(*segments)
    ),
)


@settings(max_examples=400, deadline=None)
@given(SOUP, st.integers(0, 5000), st.binary(max_size=8))
def test_whatever_comes_is_read_or_refused_and_answered(data: bytes, at: int, bytes_: bytes) -> None:
    for message in (data, text(msh(), EVN, PID, MRG)[:at], _spliced(text(msh(), EVN, PID, MRG), at, bytes_)):
        header, error = None, None
        try:
            header = read_header(message, "utf-8")
            merges = read_merges(message, header, mac, processing_id="P")
        except Refused as refusal:
            header, error = refusal.header or header, refusal
        else:
            assert merges
            for merge in merges:
                assert merge.prior != merge.surviving.identifier
                assert 0 < len(merge.prior.id) <= 64
                assert not set("\\\r\n\0") & set(merge.prior.id + merge.surviving.identifier.id + merge.surviving.name)
                assert len(merge.surviving.name) <= 3 * 64 + 2
        answer = acknowledgment.write(header, error)
        assert answer.startswith(b"MSH")
        assert answer.count(b"\rMSA") == 1
        assert not {0x0B, 0x1C} & set(answer)
        assert len(answer) < 4000


def _spliced(message: bytes, at: int, inserted: bytes) -> bytes:
    where = at % len(message)
    return message[:where] + inserted + message[where + len(inserted) :]


def test_how_films_name_a_patient() -> None:
    known = Identifier("1", "HOSP")
    assert known.as_in_films("") == (known, Identifier("1"))
    assert known.as_in_films("HOSP") == (known, Identifier("1"))
    assert known.as_in_films("OTHER") == (known,), "films without an issuer are another authority's"
    assert Identifier("1").as_in_films("HOSP") == (Identifier("1"), known)
    assert Identifier("1").as_in_films("") == (Identifier("1"),)
