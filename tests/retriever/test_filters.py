import ast

from hypothesis import given
from hypothesis import strategies as st

from services.retriever.filters import expression, quoted, sources
from services.retriever.ports import Scope, SourceKey


def test_the_tenant_comes_first_and_the_collection_second() -> None:
    assert expression(Scope(tenant="acme", collection="docs")) == 'tenant == "acme" and collection == "docs"'


def test_every_filter_is_in_the_expression() -> None:
    scope = Scope(tenant="a", collection="c", sources=("y", "x", "y"), categories=("k",), after_ms=0, before_ms=9)

    assert expression(scope) == (
        'tenant == "a" and collection == "c" and source in ["x", "y"] and category in ["k"]'
        " and published_at_ms >= 0 and published_at_ms < 9"
    )


def test_sources_of_many_documents_are_one_expression() -> None:
    keys = [SourceKey("b", "c", "s"), SourceKey("a", "c", 't"')]

    assert sources(keys) == 'tenant in ["a", "b"] and collection in ["c"] and source in ["s", "t\\""]'


def test_a_name_cannot_leave_its_quotes() -> None:
    hostile = 'acme" or tenant != "'

    assert expression(Scope(tenant=hostile, collection="\\")) == 'tenant == "acme\\" or tenant != \\"" and collection == "\\\\"'


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_quoted_name_reads_back_as_itself(name: str) -> None:
    literal = quoted(name)

    assert ast.literal_eval(literal) == name
    assert not {"\n", "\r"} & set(literal)
