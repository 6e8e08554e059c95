"""``reshim serve``: reconstruct scans that are streamed to a socket."""

import argparse

from reshim.cli.adapting import add_adapting

NAME = "serve"
HELP = "Reconstruct scans that a scanner or a client streams over the network (ISMRMRD protocol)."

EXAMPLE = """\
examples:
  reshim serve                                          the default method on 127.0.0.1:9002
  reshim serve --with runs/knee --adapt auto            a trained network, mended where a scan is unusual
  reshim serve --host 0.0.0.0 --images uint16           for a scanner, which wants whole numbers

A client sends a configuration's name, the ISMRMRD header, the lines and the closing message, and gets an
image a slice back; with each image travel the method, the shift score and the warnings. A configuration that
is called like a classical method (sense, l1-wavelet, grappa, ...) takes that one, any other the method of
--with. There is no password: let nobody reach the port who should not. Ctrl-C ends it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9002, help="port to listen on (default 9002)")
    parser.add_argument(
        "--with",
        dest="method",
        default="default",
        metavar="METHOD",
        help="method or RUN folder; RUN@12 takes the weights of epoch 12",
    )
    add_adapting(parser)
    parser.add_argument(
        "--images",
        default="float32",
        choices=("float32", "uint16"),
        help="numbers of the images: in the scan's units, or whole ones up to 4095 (default float32)",
    )
    parser.add_argument(
        "--max-gib", type=float, default=4.0, metavar="GIB", help="largest scan that is taken (default 4)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Listen until Ctrl-C or SIGTERM."""
    import logging
    import signal

    from rich.console import Console
    from rich.logging import RichHandler

    from reshim.training.memory import keep_freed_memory

    keep_freed_memory()
    from reshim.errors import UserError
    from reshim.methods import checked_device
    from reshim.reconstruction import Request
    from reshim.serve.server import Server
    from reshim.serve.session import Session

    if not 0 <= arguments.port < 1 << 16:
        raise UserError(f"--port {arguments.port} is no port; give one from 0 (any free one) to 65535")
    if not arguments.max_gib > 0:
        raise UserError(f"--max-gib {arguments.max_gib:g} lets no scan in; give a size above 0")
    request = Request(
        method=arguments.method,
        adapt=arguments.adapt,
        adapt_options=tuple(arguments.adapt_option),
        budget_seconds=arguments.budget,
        device=checked_device(arguments.device),
    )
    session = Session(request, int(arguments.max_gib * (1 << 30)), arguments.images)
    session.prepare()
    console = Console(markup=False)
    logging.getLogger("reshim").addHandler(RichHandler(console=console, show_path=False))
    logging.getLogger("reshim").setLevel(logging.INFO)
    try:
        server = Server((arguments.host, arguments.port), session)
    except OSError as error:
        raise UserError(
            f"cannot listen on {arguments.host}:{arguments.port} ({error}); give a free --port, "
            "or an address of this machine"
        ) from error
    with server:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        port = server.server_address[1]
        console.print(f"{arguments.method} listens on {arguments.host}:{port}", highlight=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("stopped")
    return 0
