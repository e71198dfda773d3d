"""``sharcs-edge export``: a bundle becomes an artifact that answers as torch does, or nothing is written."""

from sharcs_edge.export.exporter import ENTRY_POINT_GROUP, Exporter, GraphPlan, load_exporter
from sharcs_edge.export.options import ExportOptions, QuantizationRecipe
from sharcs_edge.export.plan import ExportPlan, plan_export
from sharcs_edge.export.run import ExportReport, export_bundle, family_id

__all__ = [
    "ENTRY_POINT_GROUP",
    "ExportOptions",
    "ExportPlan",
    "ExportReport",
    "Exporter",
    "GraphPlan",
    "QuantizationRecipe",
    "export_bundle",
    "family_id",
    "load_exporter",
    "plan_export",
]
