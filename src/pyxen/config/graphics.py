"""Ways to see an HVM guest's screen: VNC, SPICE and SDL."""

from __future__ import annotations

from dataclasses import dataclass

from pyxen.config.base import Part, setting
from pyxen.config.checks import INT_MAX, filename, flag, hide, integer, text

__all__ = ["Sdl", "Spice", "Vnc"]


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Vnc(Part):
    """A VNC server of the device model (xl.cfg ``vnc``, ``vnclisten`` …), of the domain or of one `Vfb`."""

    enable: bool | None = setting(None, flag, key="vnc")
    """Whether there is one. Default: yes for HVM guests and framebuffers, also beside another way."""
    listen: str | None = setting(None, text, key="vnclisten")
    """Address to listen on, with a display number if it holds a colon. Default ``127.0.0.1``."""
    passwd: str | None = setting(None, text, key="vncpasswd", secret=hide)
    """Password; VNC uses its first 8 characters."""
    display: int = setting(0, integer(0, INT_MAX), key="vncdisplay")
    """Display number: the port less 5900."""
    unused: bool | None = setting(None, flag, key="vncunused")
    """Whether to take the first free display from ``display`` on. Default: yes."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Sdl(Part):
    """A window on the host's own screen (xl.cfg ``sdl``), of the domain or of one `Vfb`."""

    enable: bool | None = setting(None, flag, key="sdl")
    """Whether there is one. Default: no."""
    opengl: bool | None = setting(None, flag, until="4.20")
    """Whether it uses OpenGL; ``qemu-xen-traditional`` only, so without effect from Xen 4.21 on. Default: no."""
    display: str | None = setting(None, text)
    """X display to open it on. Default: that of the toolstack."""
    xauthority: str | None = setting(None, filename)
    """File with the X display's cookie. Default: that of the toolstack."""


@dataclass(frozen=True, slots=True, repr=False, eq=False, kw_only=True)
class Spice(Part):
    """A SPICE server of the device model (xl.cfg ``spice``, ``spicehost`` …); HVM guests."""

    enable: bool | None = setting(None, flag, key="spice")
    """Whether there is one. Default: no."""
    host: str | None = setting(None, text, key="spicehost")
    """Address to listen on. Default: all."""
    port: int = setting(0, integer(0, 65535), key="spiceport")
    """Port without TLS; 0 (default) means no port. This or ``tls_port`` is needed."""
    tls_port: int = setting(0, integer(0, 65535), key="spicetls_port")
    """Port with TLS; 0 (default) means no port."""
    disable_ticketing: bool | None = setting(None, flag, key="spicedisable_ticketing")
    """Whether clients need no password. Default: no, and then ``passwd`` is needed."""
    passwd: str | None = setting(None, text, key="spicepasswd", secret=hide)
    """Password of clients."""
    agent_mouse: bool | None = setting(None, flag, key="spiceagent_mouse")
    """Whether the agent in the guest moves the pointer. Default: yes."""
    vdagent: bool | None = setting(None, flag, key="spicevdagent")
    """Whether the guest gets a channel for the agent. Default: no."""
    clipboard_sharing: bool | None = setting(None, flag, key="spice_clipboard_sharing")
    """Whether client and guest share the clipboard; needs ``vdagent``. Default: no."""
    usbredirection: int = setting(0, integer(0, 4), key="spiceusbredirection")
    """Number of USB redirection channels, 0 (default) to 4."""
    image_compression: str | None = setting(None, text, key="spice_image_compression")
    """``auto_glz``, ``auto_lz``, ``quic``, ``glz``, ``lz`` or ``off``. Default: QEMU decides."""
    streaming_video: str | None = setting(None, text, key="spice_streaming_video")
    """``filter``, ``all`` or ``off``. Default: QEMU decides."""
