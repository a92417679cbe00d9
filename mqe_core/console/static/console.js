// What a page of widgets cannot do by itself: draw pictures as they come, say what the operator's hand holds,
// and notice at once that nobody answers any more. Everything else is the server's.
//
// One WebSocket, /live. From the server: {"beat": n, "hand": why the hand does not count} twenty times a second, and
// pictures, whose first byte says which one it is. To the server: {"got": 1} once a picture is drawn, and while hand
// control is on {"hand": {...}} with the newest beat, which is how the server knows how old that is. No clock of this
// browser is used for anything that moves the arm.
"use strict";

(() => {
  document.documentElement.lang = "en";  // for what reads the page aloud; the library's page does not say it

  const PICTURES = ["camera", "goal", "reference"];
  const SAY_MS = 50;        // how often the hand is told while hand control is on
  const SILENCE_MS = 800;   // without a beat: the page says that it is cut off
  const AGAIN_MS = 500;     // between two attempts to connect

  let socket = null, beat = 0, heardAt = performance.now(), handIsOn = false;
  const held = new Map();   // physical key → its name, of those that are down; a key is released under any name
  const modifiers = new Set();

  // ---- the line to the server ------------------------------------------------------------------------------------
  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}/live`);
    socket.binaryType = "blob";
    socket.onmessage = (event) => (typeof event.data === "string" ? hear(JSON.parse(event.data)) : draw(event.data));
    socket.onclose = () => { letGo(); setTimeout(connect, AGAIN_MS); };
  }

  function say(message) {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  function hear(message) {
    beat = message.beat;
    heardAt = performance.now();
    document.querySelectorAll("[data-hand-state]").forEach((element) => {
      const text = !handIsOn ? "hand control is off" : message.hand || "you have the arm";
      if (element.textContent !== text) element.textContent = text;
      element.dataset.handState = handIsOn && !message.hand ? "yours" : "not";
    });
  }

  async function draw(blob) {
    const name = PICTURES[new Uint8Array(await blob.slice(0, 1).arrayBuffer())[0]];
    const url = URL.createObjectURL(blob.slice(1, blob.size, "image/jpeg"));
    const images = [...document.querySelectorAll(`img[data-picture="${name}"]`)];
    await Promise.all(images.map((image) => new Promise((done) => {
      image.onload = image.onerror = done;
      image.src = url;
    })));
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    say({ got: 1 });
  }

  setInterval(() => {
    // The widgets have a line of their own, the library's: without it the buttons reach nobody either.
    const silent = performance.now() - heardAt > SILENCE_MS || (window.socket && !window.socket.connected);
    document.body.classList.toggle("cut-off", silent);
    document.querySelectorAll("[data-cut-off]").forEach((element) => { element.hidden = !silent; });
  }, 100);

  // ---- the operator's hand ---------------------------------------------------------------------------------------
  const isTyping = (target) => target instanceof Element && target.matches("input, textarea, select, [contenteditable]");

  function letGo() { held.clear(); modifiers.clear(); }

  function gamepad() {
    const pads = navigator.getGamepads ? [...navigator.getGamepads()] : [];
    return pads.find((pad) => pad && pad.connected && pad.mapping === "standard");
  }

  function tellHand() {
    if (!handIsOn || document.hidden) return;
    const deadMan = modifiers.has(document.body.dataset.deadMan || "shift");
    const pad = gamepad();
    const byPad = pad && !deadMan && held.size === 0;
    const hand = byPad
      ? { axes: [...pad.axes].slice(0, 4), buttons: pad.buttons.slice(0, 17).map((button) => (button.pressed ? 1 : 0)) }
      : { dead_man: deadMan, keys: [...held.values()].slice(0, 20) };
    say({ hand: { beat, ...hand } });
  }
  setInterval(tellHand, SAY_MS);

  function nameOf(event) {
    return { " ": "space", Enter: "enter" }[event.key] || event.key.toLowerCase();
  }

  window.addEventListener("keydown", (event) => {
    if (event.key === " " && !isTyping(event.target)) {
      // Wherever the focus is: a button under it must not be pressed by the key that holds the arm.
      event.preventDefault();
      event.stopPropagation();
      if (!event.repeat) document.querySelector('[data-act="hold"]')?.click();
      return;
    }
    if (!handIsOn || isTyping(event.target)) return;
    for (const [name, isDown] of [["shift", event.shiftKey], ["control", event.ctrlKey], ["alt", event.altKey]]) {
      if (isDown) modifiers.add(name); else modifiers.delete(name);
    }
    if (event.metaKey) { letGo(); return; }   // the system keeps the releases of other keys to itself then
    if (event.key.length > 1 && event.key !== "Enter") return;
    if (event.target instanceof HTMLButtonElement && event.key === "Enter") return;
    event.preventDefault();
    held.set(event.code, nameOf(event));
    if (!event.repeat) tellHand();
  }, true);

  window.addEventListener("keyup", (event) => {
    if (event.key === " " && !isTyping(event.target)) { event.preventDefault(); event.stopPropagation(); }
    held.delete(event.code);
    const name = { Shift: "shift", Control: "control", Alt: "alt" }[event.key];
    if (name) modifiers.delete(name);
    if (handIsOn) tellHand();
  }, true);

  for (const [target, kind] of [[window, "blur"], [window, "pagehide"], [document, "visibilitychange"]]) {
    target.addEventListener(kind, () => {
      letGo();
      if (handIsOn) say({ hand: { beat, dead_man: false, keys: [] } });
    });
  }

  // The switch is a widget of the server's; it calls this in the browser it was clicked in.
  window.mqeHand = (isOn) => {
    handIsOn = isOn;
    letGo();
    if (!isOn) say({ hand: null });
  };

  connect();
})();
