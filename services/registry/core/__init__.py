"""What the registry decides. Pure.

registry = Registry("registry-0", charter=…, epoch=…, random_bytes=…, limits=Limits())
registry.load(stream, citizen, payload, now_ms)   each stored record, oldest first
registry.start(now_ns, now_ms)                    then the shape of every core
registry.appended(token, now_ns, now_ms)          an `Append` is durable
"""

from services.registry.core.registry import Append, Damaged, Effect, Limits, Registry

__all__ = ["Append", "Damaged", "Effect", "Limits", "Registry"]
