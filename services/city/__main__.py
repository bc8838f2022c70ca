import sys

from services.city.command import main

if __name__ == "__main__":
    sys.exit(main())
