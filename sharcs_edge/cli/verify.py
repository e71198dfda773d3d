"""`sharcs-edge verify`."""

from __future__ import annotations

from sharcs_edge.cli.options import ArtifactArgument, FormatOption
from sharcs_edge.cli.output import Format, emit


def verify(artifact: ArtifactArgument, form: FormatOption = Format.TABLE) -> None:
    """Check an artifact on this machine.

    Every file's hash is checked, then the golden inputs run through the graphs: logits, labels, routes and tokens are
    compared with what torch gave at export. Exit code 3 if they do not agree within the artifact's tolerance.

    Example: `sharcs-edge verify artifact/`
    """
    from sharcs_edge.render.verify import render_verify
    from sharcs_edge_runtime.verify import verify as verify_artifact

    report = verify_artifact(artifact)
    emit(report.to_dict(), form, table=lambda: render_verify(report))
    report.raise_if_failed()
