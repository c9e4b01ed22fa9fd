"""A project of a reader's own, made from recipes."""

from cookbook.project.files import Project, files_of, read_project
from cookbook.project.writing import archive, write_project

__all__ = ["Project", "archive", "files_of", "read_project", "write_project"]
