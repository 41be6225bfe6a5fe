"""Runs the chat template of a model file, which is a program by a stranger, so that it can only make text, and little.

Jinja's sandbox keeps a template from Python's internals, but not from using all time and memory (CVE-2024-34359,
GHSA-69j4-grxj-j64p). Here a `Meter` counts whatever a template reads or makes, before it does. A template repeats
itself only by loops and calls, which are metered too, so that the limits hold in any thread and on any system, without
signals. What cannot be measured (most string methods, many filters) is left out.

This module imports jinja2, which takes a while: import it where a template is first rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, wraps
from types import CodeType
from typing import Any

import jinja2.ext
import jinja2.filters
import jinja2.tests
from jinja2 import TemplateSyntaxError, nodes, pass_context
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from reverie.lm import meter as paid
from reverie.lm.meter import Meter, TooMuchError, size

Functions = dict[str, Callable[..., Any]]

SECONDS = 1.0
CHARACTERS = 4_000_000
NODES = 10_000  # of the syntax tree, so that it does not take long to compile; real templates have up to 2,000
CHARACTERS_PER_INPUT = 64  # an honest template reads and copies a message a few times


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


METHODS = {
    str: _names(
        "strip lstrip rstrip split rsplit partition rpartition startswith endswith removeprefix removesuffix replace "
        "join lower upper title capitalize find rfind index count isdigit isalpha isspace islower isupper"
    ),
    dict: _names("items keys values get"),
    list: _names(""),
    tuple: _names(""),
    int: _names(""),
    float: _names(""),
}
FILTERS = _names("abs count d default first float int last length")
LOOP_FILTERS = _names("items list map reject rejectattr reverse select selectattr")
DEEP_FILTERS = _names("capitalize lower title trim upper")  # these read all that they are given
DEEP_LOOP_FILTERS = _names("dictsort max min sort unique")
TESTS = _names(
    "boolean defined divisibleby even false float integer iterable mapping none number odd sequence string true "
    "undefined"
)
DEEP_TESTS = _names("== != eq equalto in lower ne upper")


class Refused(Exception):  # noqa: N818 - it says what is so
    """A template called raise_exception."""


def raise_exception(message: object) -> None:
    """How a template refuses a conversation."""
    raise Refused(message[:300] if isinstance(message, str) else "it does not say why")


def dictionary(*pairs: Any, **values: Any) -> dict[Any, Any]:
    """dict."""
    return dict(*pairs, **values)


def namespace(**values: Any) -> Namespace:
    """Jinja's namespace, without names that Python gives a meaning to."""
    for name in values:
        _refuse_private(name)
    return Namespace(**values)


def _refuse_private(name: str) -> None:
    if name.startswith("_"):
        raise TemplateSyntaxError(f"a namespace cannot hold {name}", 0)


def join(meter: Meter, values: Any, separator: str = "") -> str:
    """Jinja's filter of this name, without its attribute."""
    return paid.join(meter, separator, list(meter.turns(values)))


def indent(meter: Meter, value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    """Jinja's filter of this name, for widths that are numbers."""
    text = paid.text_of(meter, value)
    meter.charge(len(text) * max(width, 0))
    return jinja2.filters.do_indent(text, width, first, blank)


OWN_METHODS: Functions = {"replace": paid.replace, "join": paid.join, "split": paid.split, "rsplit": paid.rsplit}
OWN_FILTERS: Functions = {
    "indent": indent,
    "join": join,
    "replace": paid.replace,
    "string": paid.text_of,
    "tojson": paid.to_json,
}


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks what an assistant said, for training. A render writes it like anything else."""

    tags = {"generation"}  # noqa: RUF012 - so it is declared in jinja2

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The statements between the marks."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Charge(NodeTransformer):
    """Rewrites a template so that what the environment would not see by itself goes through the meter."""

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:  # noqa: N802 - jinja2's names
        """Text of the template is output like any other: through `Sandbox.show`."""
        return nodes.Const(node.data)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """a ~ b is a list, joined."""
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes), "join")

    def visit_List(self, node: nodes.List | nodes.Dict) -> nodes.Node:  # noqa: N802
        """A list is paid for."""
        self.generic_visit(node)
        return _filtered(node, "made")

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """A tuple can be a key: what is in it is read to find its hash."""
        self.generic_visit(node)
        return _filtered(node, "read") if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """A slice is a copy."""
        self.generic_visit(node)
        return _filtered(node, "made") if isinstance(node.arg, nodes.Slice) else node

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """All turns are paid for before the first."""
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "turns")
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Comparing reads both sides."""
        self.generic_visit(node)
        node.expr = _filtered(node.expr, "read")
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, "read")
        return node

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802
        """A macro's spare arguments would be a tuple that nobody paid for."""
        if node.name in ("varargs", "kwargs"):
            raise TemplateSyntaxError(f"{node.name} is not supported", node.lineno)
        return node

    def visit_NSRef(self, node: nodes.NSRef) -> nodes.Node:  # noqa: N802
        """See `namespace`."""
        _refuse_private(node.attr)
        return node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment for one render, with Hugging Face's conventions and a meter."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self, meter: Meter) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # nothing of a template runs while it is compiled
            extensions=[Generation, jinja2.ext.loopcontrols],
            finalize=self.show,
        )
        self.meter = meter
        self.filters = self._filters()
        known: Any = jinja2.tests.TESTS
        self.tests = self._metered(known, TESTS, meter.made) | self._metered(known, DEEP_TESTS, meter.read)  # type: ignore[assignment]
        self.globals = {
            # Functions, not types and partials: those have attributes, through which a template would get at the meter.
            "range": lambda *bounds: paid.bounded_range(meter, *bounds),
            "strftime_now": lambda style: paid.now(meter, style),
            "dict": dictionary,
            "namespace": namespace,
            "raise_exception": raise_exception,
        }

    def _filters(self) -> Functions:
        meter, known = self.meter, jinja2.filters.FILTERS
        filters = self._metered(known, FILTERS, meter.made) | self._metered(known, LOOP_FILTERS, meter.turns)
        filters |= self._metered(known, DEEP_FILTERS, meter.read)
        filters |= self._metered(known, DEEP_LOOP_FILTERS, lambda value: meter.turns(meter.read(value)))
        filters |= {"made": meter.made, "turns": meter.turns, "read": meter.read, "safe": meter.made}
        return filters | {name: partial(own, meter) for name, own in OWN_FILTERS.items()}

    def _metered(
        self, known: Mapping[str, Callable[..., Any]], names: Iterable[str], pay: Callable[[Any], Any]
    ) -> Functions:
        """Jinja's filters or tests of these names, with their arguments paid for before, and their results after."""

        def metered(function: Callable[..., Any]) -> Callable[..., Any]:
            first = int(hasattr(function, "jinja_pass_arg"))  # Jinja passes the environment or the like

            @wraps(function)
            def run(*args: Any, **kwargs: Any) -> Any:
                for value in (*args[first:], *kwargs.values()):
                    pay(value)
                result = function(*args, **kwargs)
                return self.meter.made(list(result) if isinstance(result, Iterator) else result)

            return run

        return {name: metered(known[name]) for name in names}

    @pass_context  # so that Jinja does not call it while it compiles
    def show(self, context: Context, value: Any) -> Any:
        """What is written to the output."""
        return self.meter.read(value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """left operator right."""
        if operator == "*":
            return paid.multiply(self.meter, left, right)
        if operator == "**":
            return paid.power(self.meter, left, right)
        if operator == "%" and isinstance(left, str):
            return paid.percent(self.meter, left, right)
        self.meter.charge(size(left) + size(right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """function(*args, **kwargs)."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str) and function.__name__ in OWN_METHODS:
            for hidden in ("_loop_vars", "_block_vars"):  # Jinja passes them to whatever is called in a loop or block
                kwargs.pop(hidden, None)
            return OWN_METHODS[function.__name__](self.meter, owner, *args, **kwargs)
        self.meter.charge(size(owner) + sum(map(size, (*args, *kwargs.values()))))
        return self.meter.made(super().call(context, function, *args, **kwargs))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """obj[argument]; what is not a key would be written out in Jinja's message that there is no such item."""
        if not isinstance(argument, str | int):
            raise TooMuchError(f"it looks things up by a {type(argument).__name__}")
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may look at value, which is obj.attr."""
        for kind, names in METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        return attr != "changed" and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Jinja would let str.format through, with any width."""


def compiled(source: str) -> CodeType:
    """A template as code for `rendered`. Raises whatever Jinja raises."""
    sandbox = Sandbox(Meter(CHARACTERS, SECONDS))
    tree = sandbox.parse(source)
    if sum(1 for _ in tree.find_all(nodes.Node)) > NODES:
        raise TooMuchError(f"it has more than {NODES:,} parts")
    code: CodeType = sandbox.compile(Charge().visit(tree))
    return code


def rendered(code: CodeType, values: Mapping[str, Any], num_characters: int) -> str:
    """What a template makes of values (JSON types only) that hold so many characters. Raises whatever Jinja raises."""
    sandbox = Sandbox(Meter(CHARACTERS + CHARACTERS_PER_INPUT * num_characters, SECONDS))
    template = sandbox.template_class.from_code(sandbox, code, sandbox.make_globals(None))
    return "".join(template.root_render_func(template.new_context(dict(values))))
