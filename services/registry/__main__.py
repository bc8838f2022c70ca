import sys

from services.registry.service import start
from services.registry.settings import RegistrySettings
from shared.runtime.runner import run

if __name__ == "__main__":
    sys.exit(run("registry", RegistrySettings, start))
