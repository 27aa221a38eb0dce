"use strict";
// Two maps compared, and the values of all. Without this the page still shows every map.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  if (!data) return;

  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    Object.assign(element, attributes);
    element.append(...children);
    return element;
  };

  const decode = (text, kind) => new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const [ny, nx] = data.shape;
  const first = data.stretches[0];
  const maps = data.layers.map((layer) => ({
    ...layer,
    values: decode(layer.values, Float32Array),
    picture: document.querySelector(`#${layer.key} img.map`),
    bar: document.querySelector(`#${layer.key} .bar`),
  }));
  for (const map of maps) map.pictures[first] = map.picture.src;

  const state = { left: 0, right: 1, stretch: first, at: 50, blinking: false, shown: "left",
                  x: Math.floor(nx / 2), y: Math.floor(ny / 2) };
  const source = (map) => map.pictures[state.stretch] || map.pictures[first];

  function bar(map) {
    const group = data.groups[map.group];
    const ticks = make("div", { className: "ticks" });
    for (const [text, at] of group.ticks[state.stretch]) {
      const mark = make("span", {}, text);
      mark.style.left = `${100 * at}%`;
      ticks.append(mark);
    }
    return [make("img", { src: group.ramp, alt: "" }), ticks,
            make("span", { className: "unit" }, group.unit)];
  }

  function draw() {
    const [left, right] = [maps[state.left], maps[state.right]];
    $("over").src = source(left);
    $("under").src = source(right);
    $("leftname").textContent = left.name;
    $("rightname").textContent = right.name;
    $("left").value = state.left;
    $("right").value = state.right;
    const alike = left.group === right.group;
    $("leftbar").replaceChildren(...(alike ? [] : bar(left)));
    $("rightbar").replaceChildren(...bar(right));
    place();
    point();
  }

  // The part of the left map that is seen; all or nothing while blinking.
  function place() {
    const at = state.blinking ? (state.shown === "left" ? 100 : 0) : state.at;
    $("over").style.clipPath = `inset(0 ${100 - at}% 0 0)`;
    $("edge").style.left = `${at}%`;
    $("edge").hidden = state.blinking;
    $("slider").value = state.at;
    $("slider").disabled = state.blinking;
    $("leftname").hidden = at <= 0;
    $("rightname").hidden = at >= 100;
  }

  function stretch(name) {
    state.stretch = name;
    for (const map of maps) {
      map.picture.src = source(map);
      map.bar.replaceChildren(...bar(map));
    }
    draw();
  }

  // Blinking ----------------------------------------------------------------------------------

  const PERIOD = 600; // ms; slower than what may harm
  let timer = 0;

  function blink(on) {
    clearInterval(timer);
    state.blinking = on;
    state.shown = "left";
    $("blink").setAttribute("aria-pressed", on);
    $("blink").textContent = on ? "Stop" : "Blink";
    if (on) timer = setInterval(() => show(state.shown === "left" ? "right" : "left"), PERIOD);
    place();
  }

  function show(side) {
    state.shown = side;
    place();
  }

  // Values ------------------------------------------------------------------------------------

  function line(name, unit) {
    const cell = make("td");
    $("readout").append(make("tr", {}, make("th", { scope: "row" }, name), cell,
                             make("td", { className: "of" }, unit)));
    return cell;
  }

  const pixel = line("Pixel x, y", "from 0");
  const sky = data.sky && line("Sky", data.sky.frame.toUpperCase());
  const cells = maps.map((map) => line(map.name, map.unit));

  function valueOf(map) {
    const k = Math.floor(state.y / map.repeat) * map.shape[1] + Math.floor(state.x / map.repeat);
    const value = map.values[k];
    return Number.isFinite(value) ? value.toPrecision(4).replace("-", "−") : "masked";
  }

  const places = data.sky && decode(data.sky.places, Float64Array);

  function skyOf(x, y) {
    const { step, shape } = data.sky;
    const [i, j] = [Math.floor(y / step), Math.floor(x / step)];
    const [v, u] = [y / step - i, x / step - j];
    const at = (a, b, k) => places[((i + a) * shape[1] + j + b) * 3 + k];
    const [X, Y, Z] = [0, 1, 2].map((k) =>
      (1 - v) * ((1 - u) * at(0, 0, k) + u * at(0, 1, k)) + v * ((1 - u) * at(1, 0, k) + u * at(1, 1, k)));
    const degrees = 180 / Math.PI;
    return [(Math.atan2(Y, X) * degrees + 360) % 360, Math.atan2(Z, Math.hypot(X, Y)) * degrees];
  }

  // Sixtieths, rounded before they are split: 59.9999 is the next minute.
  function sexagesimal(value, digits, wrap) {
    const unit = 10 ** digits;
    let rest = Math.round(Math.abs(value) * 3600 * unit);
    if (wrap) rest %= wrap * 3600 * unit;
    const [whole, seconds] = [Math.floor(rest / (60 * unit)), (rest % (60 * unit)) / unit];
    return [Math.floor(whole / 60), whole % 60, seconds.toFixed(digits).padStart(digits + 3, "0")]
      .map((part) => String(part).padStart(2, "0")).join(":");
  }

  function skyText(x, y) {
    const [lon, lat] = skyOf(x, y);
    if (!Number.isFinite(lon)) return "none";
    if (!data.sky.hours) return `${lon.toFixed(6)}°, ${lat.toFixed(6)}°`;
    return `${sexagesimal(lon / 15, 3, 24)} ${lat < 0 ? "−" : "+"}${sexagesimal(lat, 2)}`;
  }

  function point() {
    pixel.textContent = `${state.x + data.start[1]}, ${state.y + data.start[0]}`;
    if (sky) sky.textContent = skyText(state.x, state.y);
    maps.forEach((map, k) => { cells[k].textContent = valueOf(map); });
    const cross = $("cross");
    cross.hidden = false;
    cross.style.left = `${(100 * (state.x + 0.5)) / nx}%`;
    cross.style.bottom = `${(100 * (state.y + 0.5)) / ny}%`;
  }

  function moveTo(x, y) {
    state.x = Math.min(Math.max(x, 0), nx - 1);
    state.y = Math.min(Math.max(y, 0), ny - 1);
    point();
  }

  function follow(event) {
    const box = event.currentTarget.getBoundingClientRect();
    moveTo(Math.floor(((event.clientX - box.left) / box.width) * nx),
           ny - 1 - Math.floor(((event.clientY - box.top) / box.height) * ny));
    return (100 * (event.clientX - box.left)) / box.width;
  }

  // What the reader does ----------------------------------------------------------------------

  function slideTo(at) {
    state.at = Math.min(Math.max(at, 0), 100);
    place();
  }

  const turn = (k) => (k + maps.length) % maps.length;
  const keys = {
    ArrowLeft: () => (state.blinking ? hold("left") : slideTo(state.at - 2)),
    ArrowRight: () => (state.blinking ? hold("right") : slideTo(state.at + 2)),
    ArrowUp: () => { state.right = turn(state.right - 1); draw(); },
    ArrowDown: () => { state.right = turn(state.right + 1); draw(); },
    " ": () => blink(!state.blinking),
  };
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  function hold(side) {
    clearInterval(timer);
    show(side);
  }

  function visible(element) {
    const box = element.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const here = event.target === $("stage") || event.target === $("slider");
    // Elsewhere keys mean what they always do; nowhere, those that scroll up and down do.
    const nowhere = event.target === document.body && visible($("stage"));
    if (!here && !(nowhere && !/Up|Down/.test(event.key))) return;
    if (event.shiftKey && steps[event.key]) {
      const [dx, dy] = steps[event.key];
      moveTo(state.x + dx, state.y + dy);
    } else if (keys[event.key]) {
      keys[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  });

  const stage = $("stage");
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    const at = follow(event);
    if (!state.blinking) slideTo(at);
  });
  stage.addEventListener("pointermove", (event) => {
    const at = follow(event);
    if (event.buttons && !state.blinking) slideTo(at);
  });
  $("slider").addEventListener("input", () => slideTo(Number($("slider").value)));
  $("blink").addEventListener("click", () => blink(!state.blinking));
  for (const side of ["left", "right"]) {
    $(side).append(...maps.map((map, k) => make("option", { value: k }, map.name)));
    $(side).addEventListener("change", () => { state[side] = Number($(side).value); draw(); });
  }
  for (const input of document.querySelectorAll("#stretches input")) {
    input.addEventListener("change", () => stretch(input.value));
  }
  maps.forEach((map, k) => {
    map.picture.addEventListener("pointermove", follow);
    const put = (side, text) => {
      const button = make("button", { type: "button" }, text);
      button.addEventListener("click", () => {
        state[side] = k;
        draw();
        $("compare").scrollIntoView({ block: "start" });
      });
      return button;
    };
    map.picture.closest("figure").append(
      make("div", { className: "put" }, "Compare on the ", put("left", "left"), " ",
           put("right", "right")));
  });

  $("compare").hidden = false;
  draw();
})();
