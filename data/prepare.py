"""Prepare a data set: fetch and unpack it, read every file, search for training images among the test images.

    python data/prepare.py get rice1                                # fetches RICE1 and RICE2, which share an archive, into data/
    python data/prepare.py get satehaze1k --root DIR                # into a folder of yours
    python data/prepare.py get rice1 --root DIR --archive FILE      # from a zip that you fetched in a browser
    python data/prepare.py verify rice1 --root DIR                  # names every damaged, odd and lonely file
    python data/prepare.py verify folder --root DIR                 # pairs of your own
    python data/prepare.py verify rice1 --root DIR --manifest FILE  # compares with the SHA-256 sums of an earlier time
    python data/prepare.py audit rice1 --root DIR                   # finds test images that training has seen too

get needs pip install -e ".[data]" unless --archive is given. T-CLOUD (Baidu) must be fetched by hand, CUHK-CR (RAR) unpacked by
hand; get says how. It keeps what is there, and leaves nothing half done when it is interrupted; in the end it verifies.

verify writes the SHA-256 sums to runs/data/SET.sha256, with paths relative to the folder that it names; "sha256sum -c" reads them
there. The exit status is 0 if all is well, also of a part of the whole set, 1 if verify finds a file that is damaged, odd, stray,
without a partner or other than in the --manifest, or audit a test image in training, and 2 if the command cannot be carried out.
"""

import sys

from cloudkit.cli import parser, run
from cloudkit.preparation.audit import audit
from cloudkit.preparation.getting import get
from cloudkit.preparation.options import AuditOptions, GetOptions, PrepareOptions, VerifyOptions
from cloudkit.preparation.verification import verify


def main(options: PrepareOptions) -> None:
    """Carry out the command."""
    match options:
        case GetOptions():
            got = get(options)
            print(got.note)
            each = [verified(VerifyOptions(dataset, options.root)) for dataset in got.datasets]
            well = all(each)
        case VerifyOptions():
            well = verified(options)
        case AuditOptions():
            found = audit(options)
            print(found.text)
            well = not found.leaked
    if not well:
        sys.exit(1)


def verified(options: VerifyOptions) -> bool:
    """Print what verifying finds, and return whether all is well."""
    report = verify(options)
    print(report.text)
    return report.well


if __name__ == "__main__":
    run(main, parser(PrepareOptions, __doc__))  # type: ignore[arg-type]  # mypy takes no union for a type
