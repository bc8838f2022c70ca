import sys

from services.gateway.service import start
from services.gateway.settings import GatewaySettings
from shared.runtime.runner import run

if __name__ == "__main__":
    sys.exit(run("gateway", GatewaySettings, start))
