"""Malformed files: refused, without code that is run, without more memory or time than is due."""

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from saving_kit import FIXTURES, parts_of, write_signed

MOST_MEMORY = 10**9
MOST_SECONDS = 10

READER = """
import resource, signal, sys
import numpy as np
import xplique_craft as xc
from saving_kit import same
from xplique_craft.saving import UnreadableFile

known = xc.load(sys.argv[1])
armed, paths = False, sys.argv[4:]


def watch(event, arguments):
    # what pickle, imports of names in a file, and evaluated texts come through
    if not armed:
        return
    code = ("exec", "compile", "import", "pickle.find_class", "marshal.loads", "ctypes.dlopen")
    if event in code or event.startswith(("os.", "subprocess.", "socket.", "shutil.")):
        print("CODE", event, arguments, flush=True)
    if event == "open" and arguments[0] not in paths:
        print("OPENED", arguments, flush=True)


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


most = memory() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
signal.signal(signal.SIGPROF, lambda *_: sys.exit("too long: " + path))
sys.addaudithook(watch)
for path in paths:
    signal.setitimer(signal.ITIMER_PROF, int(sys.argv[3]))  # of the processor's time
    armed = True
    try:
        found = xc.load(path)
    except UnreadableFile as error:
        answer = "refused: " + ascii(error.args[0].split(": ", 1)[1])
    except MemoryError:
        answer = "MEMORY"
    except BaseException as error:
        answer = f"RAW {type(error).__name__} {ascii(error)}"
    else:
        answer = "equal" if same(found, known) else "other"
        found = None
    armed = False
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(path, answer, flush=True)
"""


def answers_of(paths: list[Path]) -> dict[str, str]:
    """What loading says of each file: "refused: why", "equal" to the fixture, "other"."""
    known = FIXTURES / "results_v1.safetensors"
    arguments = map(str, [known, MOST_MEMORY, MOST_SECONDS, *paths])
    done = subprocess.run(
        [sys.executable, "-c", READER, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith(("CODE", "OPENED"))] == []
    found = dict(line.split(" ", 1) for line in lines)
    assert len(found) == len(paths)
    raw = {path: said for path, said in found.items() if said.startswith(("RAW", "MEMORY"))}
    assert raw == {}
    return found


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("EVIL",)


def container(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def array_header(**said: Any) -> bytes:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **said}
    return json.dumps({"__metadata__": {"xplique_craft": "0" * 64 + "\n{}"}, "a": one}).encode()


META = '"__metadata__":{"xplique_craft":"' + "0" * 64 + '\\n{}"}'
BY_HAND: dict[str, bytes] = {
    "nothing": b"",
    "three bytes": b"abc",
    "a pickle": pickle.dumps(Evil()),
    "a pickle of the old kind": pickle.dumps(Evil(), protocol=0),
    "zeros": bytes(100_000),
    "a header of 2**63 bytes": (2**63).to_bytes(8, "little") + b"{}",
    "a header of 2**64 - 1 bytes": b"\xff" * 8 + b"{}" * 100,
    "a header as large as the file": (10**6).to_bytes(8, "little") + b"{" + b" " * (10**6 - 1),
    "a header of 20 MB": container(b"{" + b" " * 20_000_000 + b"}"),
    "lists in lists": container(b'{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"}"),
    "objects in objects": container(b'{"a":' * 190_000 + b"1" + b"}" * 190_000),
    "too many lists": container(b'{"a":[' + b"[]," * 900_000 + b"[]]}"),
    "many lists": container(b'{"a":[' + b"[]," * 490_000 + b"[]]}"),
    "many arrays": container(
        b"{"
        + b",".join(
            b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(130_000)
        )
        + b"}"
    ),
    "a number of a million digits": container(b'{"a":' + b"9" * 1_000_000 + b"}"),
    "no object": container(b"[1, 2]"),
    "no text": container(b'{"a": "\xff\xfe"}'),
    "NaN": container(b'{"a": NaN}'),
    "an endless number": container(b'{"a": 1e999}'),
    "of another program": container(b'{"__metadata__":{"format":"pt"}}'),
    "a name twice": container(("{" + META + "," + META + "}").encode()),
    "a shape beyond the file": container(array_header(shape=[2**40]), bytes(8)),
    "a shape that overflows": container(array_header(shape=[2**32, 2**32, 2]), bytes(8)),
    "a place beyond the file": container(array_header(data_offsets=[0, 2**50], shape=[2**48])),
    "a place that ends before it begins": container(array_header(data_offsets=[8, 0]), bytes(8)),
    "sizes below 0": container(array_header(shape=[-2, -1]), bytes(8)),
    "sizes that are True": container(array_header(shape=[True, 2]), bytes(8)),
    "sizes that are fractions": container(array_header(shape=[2.0]), bytes(8)),
    "an empty array of a huge shape": container(
        array_header(shape=[0, 2**62, 2**62], data_offsets=[0, 0])
    ),
    "more axes than arrays have": container(array_header(shape=[1] * 100 + [2]), bytes(8)),
    "an array of objects": container(array_header(dtype="|O"), bytes(8)),
    "an array of another kind": container(array_header(dtype="BF16", shape=[4]), bytes(8)),
    "more said of an array": container(array_header(code="print()"), bytes(8)),
    "a gap": container(array_header(data_offsets=[4, 12]), bytes(12)),
    "bytes that nothing takes": container(array_header(), bytes(80)),
    "another checksum": container(array_header(), bytes(8)),
}
RECORDS: dict[str, Any] = {
    "a name that leads out": {"$": "array", "name": "../../etc/passwd"},
    "a class of a module": {"$": "os.system", "fields": {"command": "true"}},
    "a class that can be imported": {"$": "subprocess.Popen", "fields": {"args": ["true"]}},
    "a class of the package": {"$": "xplique_craft.results.Estimate", "fields": {}},
    "a private name": {"$": "__class__", "fields": {}},
    "no name": {"$": None, "fields": {}},
    "a kind that is a list": {"$": ["Estimate"], "fields": {}},
    "a field of a class": {"$": "Estimate", "fields": {"__class__": 1}},
    "an enum's method": {"$": "BranchState", "member": "__init__"},
    "an enum's name": {"$": "BranchState", "member": 3},
    "no float": {"$": "float", "value": "0x10"},
    "a float that is a list": {"$": "float", "value": ["nan"]},
    "a scalar of objects": {"$": "scalar", "dtype": "object", "value": 1},
    "a scalar that does not fit": {"$": "scalar", "dtype": "uint8", "value": 300},
    "a scalar below 0": {"$": "scalar", "dtype": "uint8", "value": -1},
    "a scalar that is a text": {"$": "scalar", "dtype": "float64", "value": "1"},
    "a huge scalar": {"$": "scalar", "dtype": "float64", "value": 10**90},
    "a scalar's dtype that is a list": {"$": "scalar", "dtype": ["f8"], "value": 1},
    "items that are none": {"$": "tuple", "items": 7},
    "fields that are none": {"$": "Estimate", "fields": [1, 2]},
    "an object without a kind": {"value": 1},
}


def test_files_written_by_hand(tmp_path: Path) -> None:
    paths = []
    for place, content in enumerate(BY_HAND.values()):
        paths.append(tmp_path / f"{place}")
        paths[-1].write_bytes(content)
    found = answers_of(paths)
    read = [
        name
        for name, said in zip(BY_HAND, found.values(), strict=True)
        if not said.startswith("refused: ")
    ]
    assert read == []


def test_records_written_by_hand(tmp_path: Path) -> None:
    paths = []
    whole = {"version": 1, "written_by": "0.1.0", "kind": "results"}
    texts = [json.dumps({**whole, "value": value}) for value in RECORDS.values()]
    deep = json.dumps({**whole, "value": "@"}).replace('"@"', "[" * 900 + "]" * 900)
    for place, text in enumerate([*texts, deep, '{"version":1,"version":2}', "[]", "nonsense"]):
        paths.append(write_signed(tmp_path / f"{place}", {}, text, b""))
    found = list(answers_of(paths).values())
    read = [name for name, said in zip(RECORDS, found, strict=False) if said == "other"]
    assert read in ([], ["a huge scalar"])
    assert all(said.startswith("refused: ") for said in found[len(RECORDS) :])


# ---------------------------------------------------------------------------------------- drawn
def nodes_of(value: Any) -> list[tuple[Any, Any]]:
    """All places of a record: what holds them, and under which name or number."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        found.append((value, key))
        if isinstance(one, (dict, list)):
            found += nodes_of(one)
    return found


ODD: list[Any] = [
    None,
    True,
    -1,
    2**70,
    0.5,
    "",
    "nan",
    "../x",
    [],
    {},
    [[]],
    {"$": "array", "name": "value"},
    {"$": "Estimate", "fields": {"value": 1.0, "low": 0.0, "high": 2.0}},
    {"$": "float", "value": "inf"},
]


def malformed(path: Path, place: int, source: Path) -> Path:
    """A file that is wrong in one of many ways, drawn by its number."""
    draw = random.Random(place)
    content = bytearray(source.read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    way = place % 8
    if way == 0:  # bits of the header
        for _ in range(draw.choice([1, 1, 1, 5, 50])):
            content[draw.randrange(end)] ^= 1 << draw.randrange(8)
    elif way == 1:  # bits of the arrays
        for _ in range(draw.choice([1, 1, 1, 5, 50])):
            content[draw.randrange(end, len(content))] ^= 1 << draw.randrange(8)
    elif way == 2:
        del content[draw.randrange(len(content)) :]
    elif way == 3:  # a piece is missing, stands twice, or is of zeros
        start = draw.randrange(len(content))
        stop = min(len(content), start + draw.choice([1, 8, 100, 4096]))
        content[start:stop] = draw.choice([b"", content[start:stop] * 2, bytes(stop - start)])
    elif way == 4:
        content += draw.randbytes(draw.choice([1, 8, 1000]))
    else:  # the checksum is right, and what it is of is not
        header, record, data = parts_of(source)
        for _ in range(draw.choice([1, 1, 3])):
            holder, key = draw.choice(nodes_of(header if way == 5 else record))
            if isinstance(holder, dict) and draw.random() < 0.3:
                holder.pop(key, None)
            elif isinstance(holder, dict) and draw.random() < 0.2:
                holder["more"] = holder.get(key)
            else:
                holder[key] = draw.choice(ODD)
        return write_signed(path, header, record, data)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("number", [104, pytest.param(1000, marks=pytest.mark.slow)])
def test_files_that_were_changed(number: int, tmp_path: Path) -> None:
    source = FIXTURES / "results_v1.safetensors"
    paths = [malformed(tmp_path / str(i), i, source) for i in range(number)]
    found = answers_of(paths)
    for place, said in enumerate(found.values()):
        signed = place % 8 >= 5
        assert said.startswith("refused: ") or said == "equal" or (signed and said == "other")
    refused = [said for said in found.values() if said.startswith("refused: ")]
    assert len(refused) > 0.7 * number
    assert len({said.split(" ")[2] for said in refused}) > 3
