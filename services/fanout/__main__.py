import sys

from services.fanout.service import start
from services.fanout.settings import FanoutSettings
from shared.runtime.runner import run

if __name__ == "__main__":
    sys.exit(run("fanout", FanoutSettings, start))
