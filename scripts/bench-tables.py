#!/usr/bin/env python3
"""Markdown tables of the runs in a folder that scripts/bench.sh wrote."""

import json
import pathlib
import sys

OUT = pathlib.Path(sys.argv[1])


def runs(part):
    """The runs of a part by name, numbers in their order."""
    found = {file.stem: json.loads(file.read_text()) for file in (OUT / part).glob("*.json")}
    return dict(sorted(found.items(), key=lambda item: (len(item[0]) if item[0].isdigit() else 99, item[0])))


def table(title, header, rows):
    rows = list(rows)
    if not rows:
        return
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def cpu(run, *names):
    return sum(run["cpu_us_per_certificate"].get(name, 0) for name in names or ("front", "gate"))


def machine():
    every = [
        run for part in sorted(OUT.iterdir()) if part.is_dir() for run in runs(part.name).values() if "machine_before" in run
    ]
    if not every:
        return
    first = every[0]["machine_before"]
    loads = [run["machine_before"]["load"].split()[0] for run in every]
    print(f"{first['processors']} processors, {first['model']}; load average when a run began: {min(loads, key=float)} to {max(loads, key=float)}.")


def path():
    def rows():
        for run in sorted(runs("path").values(), key=lambda run: (run["algorithm"], run["in_flight"])):
            raw = run["raw"]
            both = cpu(run)
            yield (
                run["algorithm"], f"{run['in_flight']}", f"{run['certificates_per_second']:.0f}",
                f"{run['latency_ms']['p50']:.1f}", f"{run['latency_ms']['p99']:.1f}",
                f"{run['half_load']['latency_ms']['p50']:.1f}", f"{run['half_load']['latency_ms']['p99']:.1f}",
                f"{run['half_load']['p99_over_p50']:.1f}",
                f"{cpu(run, 'front'):.0f}", f"{cpu(run, 'gate'):.0f}",
                f"{raw['signatures_per_second']:.0f}", f"{run['ratio']:.2f}", f"{raw['cpu_micros_per_signature']:.0f}",
                f"{both - raw['cpu_micros_per_signature']:.0f}",
            )

    table(
        "The whole path, beside the token's own rate",
        ["CA key", "in flight", "certificates/s", "p50 ms", "p99 ms", "half load: p50", "p99", "p99/p50", "CPU front µs",
         "CPU gate µs", "C_Sign alone/s", "ratio to C_Sign", "CPU of C_Sign µs", "CPU beside C_Sign µs"],
        rows(),
    )
    some = runs("path").get("p256-16")
    if some:
        table(
            "Decision, start and memory",
            ["policy decision p50 µs", "mean µs", "start to ready ms", "idle MB: front", "gate", "supervisor",
             "after the load MB: front", "gate"],
            [(
                f"{some['decision_us']['p50']:.0f}", f"{some['decision_us']['mean']:.0f}", f"{some['ready_ms']:.0f}",
                *(f"{some['memory_mb'][name]:.0f}" for name in ("front", "gate", "supervisor")),
                *(f"{some['memory_after_mb'][name]:.0f}" for name in ("front", "gate")),
            )],
        )


def stream():
    table(
        "Several certificates in one call",
        ["requests at a time in a call", "certificates/s", "CPU front µs", "CPU gate µs", "in all µs"],
        (
            (name, f"{run['certificates_per_second']:.0f}", f"{cpu(run, 'front'):.0f}", f"{cpu(run, 'gate'):.0f}", f"{cpu(run):.0f}")
            for name, run in runs("stream").items()
        ),
    )


def burst():
    def rows():
        for name, run in runs("burst").items():
            figures = run["burst"]
            since = figures["since_start_ms"]
            yield (
                name, f"{figures['pods']}", f"{figures['at_once']}", f"{figures['seconds_to_last']:.1f}",
                f"{since['p50'] / 1000:.1f}", f"{since['p99'] / 1000:.1f}",
                f"{run['latency_ms']['p50']:.0f}", f"{run['latency_ms']['p99']:.0f}",
                f"{run['certificates_per_second']:.0f}", f"{figures['lost']}", f"{figures['retries']}",
                f"{run['memory_after_mb']['front']:.0f}",
            )

    table(
        "A burst of new workloads",
        ["CA key", "workloads", "at once", "s to the last", "p50 s since the start", "p99 s", "own p50 ms", "own p99 ms",
         "certificates/s", "lost", "tried again", "front MB afterwards"],
        rows(),
    )


def median_runs(part):
    """Of the runs of one thing in several turns, NAME.TURN, the one in the middle by its rate."""
    turns = {}
    for name, run in runs(part).items():
        if "." not in name:  # of a bench that did not take turns yet
            continue
        turns.setdefault(name.split(".")[0], []).append(run)
    middle = {}
    for name, several in turns.items():
        several.sort(key=lambda run: run["certificates_per_second"])
        middle[name] = several[(len(several) - 1) // 2]
    return dict(sorted(middle.items(), key=lambda item: (len(item[0]) if item[0].isdigit() else 99, item[0])))


def growth(part, title, first):
    found = median_runs(part)
    if not found:
        return
    base = next(iter(found.values()))
    table(
        title,
        [first, "certificates/s", "ratio to the first", "CPU front µs", "CPU gate µs", "in all µs", "decision p50 µs",
         "start to ready ms", "front MB afterwards"],
        (
            (
                name, f"{run['certificates_per_second']:.0f}",
                f"{run['certificates_per_second'] / base['certificates_per_second']:.2f}",
                f"{cpu(run, 'front'):.0f}", f"{cpu(run, 'gate'):.0f}", f"{cpu(run):.0f}",
                f"{run['decision_us']['p50']:.0f}", f"{run['ready_ms']:.0f}", f"{run['memory_after_mb']['front']:.0f}",
            )
            for name, run in found.items()
        ),
    )


machine()
path()
stream()
burst()
growth("connections", "Open connections beside the load", "idle connections")
growth("policies", "Policies, each asked for every request; and issuers that nobody asks for", "policies")
growth("modules", "Modules that nobody asks; compiled at the start (cold), or found compiled (warm)", "modules")
growth("identities", "Identities that the requests are spread over", "identities")
growth("ledger", "Entries in the ledger before", "entries")
table(
    "Replay of an export, reading and decoding included",
    ["threads", "decisions", "certificates verified", "seconds", "decisions/s", "decisions per second of one processor"],
    (
        (
            name, f"{run['counts']['decisions']}", f"{run['counts']['certificates']}", f"{run['seconds']:.2f}",
            f"{run['decisions_per_second']:.0f}", f"{run['decisions_per_cpu_second']:.0f}",
        )
        for name, run in runs("replay").items()
    ),
)
for place, title in [
    ("writer/load.txt", "The ledger's writer alone"),
    ("sets/figures.txt", "Sets that change beside 64 callers, and a shadow that burns all its fuel"),
]:
    if (OUT / place).exists():
        print(f"\n### {title}\n")
        print("```text\n" + (OUT / place).read_text().rstrip() + "\n```")
