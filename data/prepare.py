"""Prepare a dataset: download and verify it, or search for training images in the test part.

    python data/prepare.py get rice1                                # RICE1 and RICE2, one archive
    python data/prepare.py get satehaze1k --root DIR                # into a folder of yours
    python data/prepare.py get rice1 --root DIR --archive FILE      # from a zip that you have
    python data/prepare.py verify rice1 --root DIR                  # damaged, odd, unpaired files
    python data/prepare.py verify folder --root DIR                 # your own pairs
    python data/prepare.py verify rice1 --root DIR --manifest FILE  # compare with checksums
    python data/prepare.py audit rice1 --root DIR                   # test images in training

get needs pip install -e ".[data]", unless --archive is given. T-CLOUD (Baidu) must be downloaded
by hand, and CUHK-CR (RAR) unpacked by hand; get says how. Existing datasets are kept, and an
interrupted run leaves no half-done work. After unpacking, get verifies the dataset.

verify writes the SHA-256 checksums of all files to runs/data/SET.sha256. It prints the command with
which sha256sum compares them.

The exit status is 0 without problems, also for an incomplete dataset. It is 1 if verify finds a
problem or a difference from the --manifest, or if audit finds a test image in training. It is 2 if
the command cannot be carried out.
"""

import sys

from cloudkit.script.command_line import parser, run_script
from preparation.audit import audit
from preparation.getting import get
from preparation.options import AuditOptions, GetOptions, PrepareOptions, VerifyOptions
from preparation.verification import verify


def main(options: PrepareOptions) -> None:
    """Carry out one command."""
    match options:
        case GetOptions():
            result = get(options)
            print(result.note)
            passed = True
            for dataset in result.datasets:
                passed &= print_verification(VerifyOptions(dataset, options.root))
        case VerifyOptions():
            passed = print_verification(options)
        case AuditOptions():
            report = audit(options)
            print(report.text)
            passed = not report.leaked
    if not passed:
        sys.exit(1)


def print_verification(options: VerifyOptions) -> bool:
    """Print the report of a verification, and return whether it passed."""
    report = verify(options)
    print(report.text)
    return report.passed


if __name__ == "__main__":
    run_script(main, parser(PrepareOptions, __doc__))  # type: ignore[arg-type]  # mypy takes no union for a type
