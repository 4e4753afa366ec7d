"""`holotype doctor`: what this installation can do, and the line that mends what it cannot."""

from holotype.cli.options import AsJson
from holotype.cli.output import hanging, print_json, print_message, print_next_command, print_result
from holotype.pipeline.doctor import doctor as diagnose


def doctor(*, as_json: AsJson = False) -> int:
    """Exit code 0 unless something essential is broken; a missing extra is not essential."""
    diagnosis = diagnose()
    if as_json:
        print_json(diagnosis.to_json())
        return int(not diagnosis.ok)
    width = max(len(check.name) for check in diagnosis.checks)
    for check in diagnosis.checks:
        print_result(hanging(f"{check.status:8}{check.name:{width}}  {check.found}", width + 10))
        if check.fix:
            print_result(f"{'':8}{'':{width}}  → {check.fix}")
    if diagnosis.ok:
        print_next_command("holotype", "fetch", "synthetic-cats-dogs", "--output", "pets")
    else:
        print_message("Something essential is broken; mend the lines that say so first.")
    return int(not diagnosis.ok)
