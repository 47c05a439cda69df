"""What commands need of the pages, in one place: it is imported where pages are wanted."""

from sim.views.web.folder import Folder, folder_of
from sim.views.web.gate import Gate
from sim.views.web.server import served
from sim.views.web.site import Site

__all__ = ["Folder", "Gate", "Site", "folder_of", "served"]
