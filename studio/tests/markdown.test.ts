import { describe, expect, it } from "vitest";

import { render } from "../src/lib/markdown";

/** What the HTML becomes in a page. */
function page(markdown: string): HTMLElement {
  const element = document.createElement("div");
  element.innerHTML = render(markdown);
  return element;
}

describe("a model's Markdown", () => {
  it("becomes paragraphs, lists and highlighted code", () => {
    const shown = page("Two *things*:\n\n- one\n- two\n\n```python\ndef f(): return 'x'\n```");
    expect(shown.querySelectorAll("li")).toHaveLength(2);
    expect(shown.querySelector("code .hljs-keyword")?.textContent).toBe("def");
    expect(shown.querySelector("code")?.textContent).toContain("def f(): return 'x'");
  });

  it("shows code of an unknown language, and code that is still being written, as it is", () => {
    expect(page("```klingon\na < b && c\n```").querySelector("code")?.textContent).toContain("a < b && c");
    expect(page("```python\nprint(1").querySelector("code")?.textContent).toContain("print(1");
  });

  it.each([
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://example.org/track.png)",
    "[x](javascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "<a href='/api/models' onclick='alert(1)'>x</a>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<iframe src=https://example.org></iframe>",
    "<p style='position:fixed'>x</p>",
    "<form action=/api/generate><input name=prompt></form>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "```html\n<script>alert(1)</script>\n```",
    "```x\"><img src=x onerror=alert(1)>\ny\n```",
  ])("cannot run, fetch or send anything: %s", (hostile) => {
    const shown = page(hostile);
    expect(shown.querySelector("script, img, iframe, svg, form, input, style, object, math")).toBeNull();
    for (const element of shown.querySelectorAll("*")) {
      for (const { name, value } of element.attributes) {
        expect(name).not.toMatch(/^on|style|src/);
        if (name === "href") expect(value).toMatch(/^https?:/);
      }
    }
  });
});
