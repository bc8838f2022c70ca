"""`python -m services.ingest`: one ingest process."""

import sys

from services.ingest.service import start
from services.ingest.settings import IngestSettings
from shared.runtime.runner import run

sys.exit(run("ingest", IngestSettings, start))
