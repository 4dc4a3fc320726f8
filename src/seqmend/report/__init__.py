"""What people see of a finished run: a self-contained page, a terminal summary, a chart for a README."""

from seqmend.report.arm_chart import arm_chart_svg
from seqmend.report.augment_charts import augment_arm_name
from seqmend.report.correct_page import write_correct_report
from seqmend.report.denoise_charts import arm_title
from seqmend.report.page import write_report
from seqmend.report.study_charts import study_chart_svg
from seqmend.report.terminal import terminal_summary

__all__ = [
    "arm_chart_svg",
    "arm_title",
    "augment_arm_name",
    "study_chart_svg",
    "terminal_summary",
    "write_correct_report",
    "write_report",
]
