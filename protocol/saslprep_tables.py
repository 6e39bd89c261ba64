#!/usr/bin/python3
"""Writes saslprep_tables.cpp beside itself: what RFC 3454 and Unicode 3.2 say, packed as saslprep.cpp unpacks it.

Everything is a row of variable-length integers (seven bits a byte, high bit: more follow) in base64. Ranges are
(distance from the end of the last, length - 1). Decompositions are (distance, count * 4 + kind, code points).
"""
import base64
import os
import stringprep
import unicodedata

ucd = unicodedata.ucd_3_2_0
codes = range(0x110000)


def varint(value):
    out = b""
    while value > 127:
        out += bytes([128 | value & 127])
        value >>= 7
    return out + bytes([value])


def ranges(member):
    out, last, start = b"", 0, None
    for code in range(0x110001):
        inside = code < 0x110000 and member(chr(code))
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            out += varint(start - last) + varint(code - 1 - start)
            last, start = code, None
    return out


def decompositions():
    out, last = b"", 0
    for code in codes:
        parts = ucd.decomposition(chr(code)).split()
        if not parts:
            continue
        canonical = not parts[0].startswith("<")
        points = [int(p, 16) for p in (parts if canonical else parts[1:])]
        kind = 0
        if canonical:
            composes = len(points) == 2 and ucd.normalize("NFC", chr(code)) == chr(code)
            kind = 2 if composes else 1
        out += varint(code - last) + varint(len(points) * 4 + kind) + b"".join(map(varint, points))
        last = code
    return out


def combining():
    out, last = b"", 0
    for code in codes:
        if ucd.combining(chr(code)):
            out += varint(code - last) + varint(ucd.combining(chr(code)))
            last = code
    return out


prohibited = [stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
              stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
              stringprep.in_table_c9, stringprep.in_table_a1]
tables = [
    ("saslprep_nothing", "B.1: mapped to nothing", ranges(stringprep.in_table_b1)),
    ("saslprep_spaces", "C.1.2: mapped to a space", ranges(stringprep.in_table_c12)),
    ("saslprep_prohibited", "C.1.2 to C.9 and A.1: forbidden", ranges(lambda c: any(p(c) for p in prohibited))),
    ("saslprep_right_to_left", "D.1", ranges(stringprep.in_table_d1)),
    ("saslprep_left_to_right", "D.2", ranges(stringprep.in_table_d2)),
    ("saslprep_combining", "combining classes", combining()),
    ("saslprep_decompositions", "decompositions, one step deep", decompositions()),
]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "saslprep_tables.cpp"), "w") as out:
    out.write("// Written by saslprep_tables.py; see there for the form.\n// clang-format off\n\n")
    out.write('#include "protocol/saslprep_tables.hpp"\n\nnamespace pgmend::protocol {\n')
    for name, meaning, data in tables:
        text = base64.b64encode(data).decode()
        rows = [text[i:i + 104] for i in range(0, len(text), 104)]
        out.write(f"\n/// {meaning}.\nconst std::string_view {name} =\n")
        out.write("\n".join(f'    "{row}"' for row in rows) + ";\n")
    out.write("\n}  // namespace pgmend::protocol\n")
