import sys

from services.sanctuary.service import start
from services.sanctuary.settings import SanctuarySettings
from shared.runtime.runner import run

if __name__ == "__main__":
    sys.exit(run("sanctuary", SanctuarySettings, start))
