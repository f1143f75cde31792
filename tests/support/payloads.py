"""Payloads that a role may send on the channel of the queue, none of which any trigger sends."""

from __future__ import annotations

_TIME = "2026-01-02T03:04:05.000060"

# All are shorter than 8,000 bytes, as PostgreSQL wants them.
ODD_PAYLOADS = (
    "", " ", "null", "true", "0", "-1", "1e999", "NaN", "-Infinity", '"root"', "root", "RELOAD", "reload ",
    "[]", "[[]]", "{}", "[null]", "[null, null]", "[null, 1]", '[null, ""]', '[null, "soon"]', '[null, true]',
    '[null, "2026-01-02"]', f'[null, "{_TIME}", 1]', "[1]", "[true]", "[1.5]", '[["root"]]', '[{"root": 1}]',
    '["root", 1]', '["root", null]', '["root", "x", null, {}]', "[1, 2, 3, 4]", f'["root", 10, "{_TIME}"]',
    f'["root", 10, "{_TIME}", 7, 8]', f'[null, 10, "{_TIME}", 7]', f'["root", null, "{_TIME}", 7]',
    f'["root", true, "{_TIME}", 7]', f'["root", 10, "{_TIME}", false]', f'["root", "10", "{_TIME}", 7]',
    f'["root", 10, "{_TIME}", "7"]', f'["root", 10.0, "{_TIME}", 7]', f'["root", 10, "{_TIME}", 7.0]',
    f'["root", NaN, "{_TIME}", 7]', f'["root", 10, "{_TIME}", Infinity]', f'["root", 2147483648, "{_TIME}", 7]',
    f'["root", 10, "{_TIME}", 9223372036854775808]', f'["root", -2147483649, "{_TIME}", 7]',
    f'["root", {"9" * 5000}, "{_TIME}", 7]', f'["root", 10, "{_TIME}", {"9" * 400}]',
    '["root", 10, "", 7]', '["root", 10, "yesterday", 7]', '["root", 10, "infinity", 7]',
    '["root", 10, "2026-02-30T00:00:00.000000", 7]', '["root", 10, "0000-01-01T00:00:00.000000", 7]',
    '["root", 10, "2026-01-02T03:04:05", 7]', '["root", 10, "2026-01-02T03:04:05.000060+02", 7]',
    '["root", 10, "2026-01-02T25:00:00.000000", 7]', '["root", 10, 1767323045, 7]', '["root", 10, ["now"], 7]',
    '["root", [10], "x", [7]]', '["\\ud800"]', '["root.\\udfff.a"]', '["root\\u0000"]', '["a\\u0000", 1, "b", 2]',
    f'["\\ud800", 10, "{_TIME}", 7]', '{"control": false}', '{"control": 1}', '{"control": null}',
    '{"control": "true"}', '{"control": []}', '{"control": {"control": true}}', '{"control": true, "cancel": 1}',
    '{"cancel": true}', '{"cancel": null}', '{"cancel": "1"}', '{"cancel": 1.5}', '{"cancel": NaN}',
    f'{{"cancel": {"9" * 30}}}', '{"cancel": [1]}', '{"": 0}', '{"root": 10}', '{"control"', '["root"', "[,]",
    "[" * 7999, '{"control":' * 600, '["' + "x" * 7990, "[" * 3999 + "]" * 3999, "x" * 7999, "9" * 7999, "\\x00",
    "'; drop table queue_job; --", "%s%s%d", "{0}", "\t\r\n", "\u202e", "c8c0d125a7e94c47a5e0b1781ba41473",
    "c8c0d125-a7e9-4c47-a5e0-b1781ba4147", "g8c0d125-a7e9-4c47-a5e0-b1781ba41473",
)  # fmt: skip
