"""`python -m facesym`, for launchers that take a module: accelerate launch -m facesym complete …"""

from .cli import main

if __name__ == "__main__":
    main()
