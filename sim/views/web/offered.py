"""What commands need of the pages, in one place: it is imported where pages are wanted."""

from sim.views.web.dashboard import DashboardView
from sim.views.web.folder import folder_of
from sim.views.web.gate import Gate
from sim.views.web.printing import print_pdf, printer
from sim.views.web.report import report, report_html, unfolded, write_plots
from sim.views.web.server import served
from sim.views.web.site import site_of

__all__ = [
    "DashboardView",
    "Gate",
    "folder_of",
    "print_pdf",
    "printer",
    "report",
    "report_html",
    "served",
    "site_of",
    "unfolded",
    "write_plots",
]
