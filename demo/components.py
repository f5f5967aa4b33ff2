"""The components of the page: the sketchpad, the picture upload, and the two ways of showing an answer.

The first two pass on the path of the unchanged file, so that the library's own loader opens it. The other two take
plain JSON and lay it out in the browser.
"""

from typing import Any

import gradio as gr
from gradio.data_classes import FileData, GradioRootModel
from pydantic import field_validator
from views import View

# ---------------------------------------------------------------- what goes in

SKETCHPAD_HTML = """
<div class="pad">
  <canvas width="560" height="560" role="img" aria-label="Sketchpad: draw one digit with mouse, finger or pen"></canvas>
  <div class="tools">
    <button type="button" class="undo" aria-label="Undo the last stroke">Undo</button>
    <button type="button" class="clear" aria-label="Clear the sketchpad">Clear</button>
  </div>
</div>
"""

SKETCHPAD_CSS = """
.pad { max-width: 440px; margin: auto; }
canvas { width: 100%; aspect-ratio: 1; background: white; border-radius: 12px; cursor: crosshair; touch-action: none;
  border: 1px solid var(--border-color-primary); }
.tools { display: flex; gap: 8px; margin-top: 8px; }
.tools button { flex: 1; margin: 0; padding: 10px; border-radius: 8px;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color);
  border: 1px solid var(--border-color-primary); }
.tools button:hover { background: var(--button-secondary-background-fill-hover); }
"""

# The sketch is sent when the pen is lifted. Another may be sent while one is still on its way: the last one counts.
SKETCHPAD_JS = """
const canvas = element.querySelector("canvas"), context = canvas.getContext("2d");
let strokes = [], sent = 0;

function redraw() {
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.strokeStyle = context.fillStyle = "black";
  context.lineWidth = 34;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const point of stroke) context.lineTo(...point);
    context.stroke();
  }
}

function place(event) {
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

async function send() {
  const number = ++sent;
  let value = null;
  if (strokes.length) {
    const blob = await new Promise(resolve => canvas.toBlob(resolve, "image/png"));
    const file = await upload(new File([blob], "sketch.png", {type: "image/png"}));
    value = {path: file.path, url: file.url, meta: {_type: "gradio.FileData"}};
  }
  if (number === sent) props.value = value;
}

canvas.addEventListener("pointerdown", event => {
  if (event.button) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  strokes.push([place(event)]);
  redraw();
});
canvas.addEventListener("pointermove", event => {
  if (!canvas.hasPointerCapture(event.pointerId)) return;
  for (const part of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).push(place(part));
  redraw();
});
canvas.addEventListener("pointerup", send);
canvas.addEventListener("pointercancel", send);
element.querySelector(".undo").addEventListener("click", () => { strokes.pop(); redraw(); send(); });
element.querySelector(".clear").addEventListener("click", () => { strokes = []; redraw(); send(); });
redraw();
"""


class Sketch(GradioRootModel):
    """A sketch's file, which Gradio checks was uploaded; None while the paper is blank."""

    root: FileData | None = None

    @field_validator("root", mode="before")
    @classmethod
    def _read_blank(cls, value: Any) -> Any:
        return value or None  # the browser's null arrives as ""


class Sketchpad(gr.HTML):
    """White paper and a black pen. Its value is the path of a PNG file, or None while the paper is blank.

    `gr.Sketchpad` opens without a pen, and loses it with every Clear.
    """

    data_model = Sketch

    def __init__(self, **kwargs: Any) -> None:
        """Takes the options of every component."""
        super().__init__(html_template=SKETCHPAD_HTML, css_template=SKETCHPAD_CSS, js_on_load=SKETCHPAD_JS, **kwargs)

    def preprocess(self, payload: Sketch | None) -> str | None:  # type: ignore[override]
        """Returns the path of the sketch."""
        return payload.root.path if payload and payload.root else None


class PictureUpload(gr.Image):
    """An uploaded picture; its value is the unchanged file, which `gr.Image` would decode and rewrite."""

    is_template = True  # the page shows it like gr.Image

    def preprocess(self, payload: Any) -> str | None:
        """Returns the path of the file."""
        return None if payload is None else payload.path


class FilesUpload(gr.File):
    """Uploaded files; its value is their paths. `gr.File` would leave an empty file behind for each."""

    is_template = True

    def preprocess(self, payload: Any) -> list[str] | None:
        """Returns the paths of the files."""
        return None if payload is None else [file.path for file in payload.root]


# ---------------------------------------------------------------- what comes out

ANSWER_HTML = """
<div class="answer" role="status" aria-live="polite">
  <div class="digit">{{value.headline}}</div>
  <p class="comment">{{value.comment}}</p>
  {{#if value.bars}}
  <div class="bars">
    {{#each value.bars}}
    <div class="bar {{this.rank}}" role="img" aria-label="{{this.digit}}: {{this.percent}} %"
      title="{{this.probability}}">
      <span>{{this.digit}}</span>
      <span class="track"><span class="fill" style="width: {{this.percent}}%"></span></span>
      <span class="percent">{{this.percent}} %</span>
    </div>
    {{/each}}
  </div>
  {{/if}}
  <div class="pictures">
    {{#if value.canonical}}
    <figure>
      <img src="{{value.canonical}}" alt="The ink as the model sees it, in 28 x 28 pixels">
      <figcaption>What the model sees</figcaption>
    </figure>
    {{/if}}
    {{#if value.saliency}}
    <figure>
      <img src="{{value.saliency}}" alt="The same ink: orange spoke for the answer, blue against it">
      <figcaption>Ink that spoke <b class="for">for</b> it, and <b class="against">against</b></figcaption>
    </figure>
    {{/if}}
  </div>
</div>
"""

ANSWER_CSS = """
.answer { display: flex; flex-direction: column; gap: 8px; }
.digit { font-size: 6rem; line-height: 1; font-weight: 700; text-align: center; min-height: 6rem;
  color: var(--body-text-color); }
.comment { text-align: center; font-size: 1.1rem; margin: 0; color: var(--body-text-color); }
.bars { display: grid; gap: 3px; }
.bar { display: grid; grid-template-columns: 1.2em 1fr 4.5em; gap: 8px; align-items: center;
  color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.bar.best { font-weight: 700; }
.track { background: var(--border-color-primary); border-radius: 4px; height: 12px; overflow: hidden; }
.fill { display: block; height: 100%; background: var(--body-text-color-subdued); border-radius: 4px; }
.bar.best .fill { background: var(--color-accent); }
.percent { text-align: right; }
.pictures { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; margin-top: 4px; }
figure { margin: 0; }
figure img { width: 100%; max-width: 200px; margin: auto; image-rendering: pixelated; border-radius: 6px;
  border: 1px solid var(--border-color-primary); }
figcaption { text-align: center; font-size: 0.85rem; color: var(--body-text-color); opacity: 0.8; }
.for { color: #ea580c; }
.against { color: #3b82f6; }
"""

NUMBER_HTML = """
<div class="number" role="status" aria-live="polite">
  <pre class="text">{{value.headline}}</pre>
  <p class="comment">{{value.comment}}</p>
  {{#if value.picture}}
  <svg viewBox="0 0 {{value.width}} {{value.height}}" role="img" aria-label="The picture, with a box around each digit">
    <image href="{{value.picture}}" width="{{value.width}}" height="{{value.height}}"></image>
    {{#each value.boxes}}
    <g>
      <title>{{this.digit}}: {{this.percent}} %</title>
      <rect x="{{this.left}}" y="{{this.top}}" width="{{this.width}}" height="{{this.height}}"></rect>
      <text x="{{this.left}}" y="{{this.top}}" font-size="{{this.size}}">{{this.digit}}</text>
    </g>
    {{/each}}
  </svg>
  {{/if}}
</div>
"""

NUMBER_CSS = """
.text { font-size: 2.2rem; font-weight: 700; text-align: center; margin: 0; white-space: pre-wrap;
  color: var(--body-text-color); background: none; overflow-wrap: anywhere; }
.comment { text-align: center; margin: 4px 0 8px; color: var(--body-text-color); }
svg { width: 100%; max-height: 70vh; border-radius: 8px; }
rect { fill: none; stroke: #ea580c; stroke-width: 2px; vector-effect: non-scaling-stroke; }
text { fill: #ea580c; font-weight: 700; dominant-baseline: text-after-edge; paint-order: stroke; stroke: white;
  stroke-width: 3px; vector-effect: non-scaling-stroke; }
"""


DOWNLOAD_HTML = """
{{#if value}}<a class="download" href="{{value.link}}" download="digits.csv">Download all of it as CSV</a>{{/if}}
"""

DOWNLOAD_CSS = """
.download { display: block; text-align: center; padding: 10px; border-radius: 8px; text-decoration: none;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color);
  border: 1px solid var(--border-color-primary); }
.download:hover { background: var(--button-secondary-background-fill-hover); }
"""


def create_download(**kwargs: Any) -> gr.HTML:
    """Returns a link that looks like a button; it leads to its value's `link`, a data URL."""
    return gr.HTML(None, html_template=DOWNLOAD_HTML, css_template=DOWNLOAD_CSS, js_on_load=None, **kwargs)


def create_answer(view: View, **kwargs: Any) -> gr.HTML:
    """Returns the component that shows the reading of one digit, see `views.view_prediction`."""
    return gr.HTML(view, html_template=ANSWER_HTML, css_template=ANSWER_CSS, js_on_load=None, **kwargs)


def create_number(view: View, **kwargs: Any) -> gr.HTML:
    """Returns the component that shows the reading of many digits, see `views.view_reading`."""
    return gr.HTML(view, html_template=NUMBER_HTML, css_template=NUMBER_CSS, js_on_load=None, **kwargs)
