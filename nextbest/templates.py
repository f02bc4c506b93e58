from functools import lru_cache


class Template:
    def __init__(self, source: str) -> None:
        self.source = source

    def render(self, values) -> str:
        return self.source


@lru_cache
def compile_template(source: str) -> Template:
    return Template(source)
