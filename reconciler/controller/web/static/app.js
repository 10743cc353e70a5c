// The page works without this. With it: filters act at once, and what changes on the server changes here.
// Nothing here makes HTML from text: new parts come from the same server-rendered page, parsed and put in place.
"use strict";

(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const live = document.getElementById("live");
  if (!live) return;

  // ---- filter -------------------------------------------------------------------------------------------------------
  const form = document.getElementById("filters");
  const tabs = () => [...document.querySelectorAll("#tabs a")];

  function wanted() {
    const get = (name) => form.elements.namedItem(name).value;
    return {
      words: get("q").toLowerCase().split(/\s+/).filter(Boolean),
      show: get("show"),
      env: get("env"),
      sync: get("sync"),
      health: get("health"),
      op: get("op"),
    };
  }

  function filter() {
    if (!form) return;
    const want = wanted();
    const tab = tabs().find((one) => one.dataset.show === want.show);
    const level = tab ? tab.dataset.level : "";
    let matches = 0;
    for (const section of document.querySelectorAll("section.env")) {
      const rows = [...section.querySelectorAll("tr.row")];
      let shown = 0;
      for (const row of rows) {
        const data = row.dataset;
        const fits =
          (!want.env || data.env === want.env) &&
          (!want.sync || data.sync === want.sync) &&
          (!want.health || data.health === want.health) &&
          (!want.op || data.op === want.op) &&
          (!level || data.show === level) &&
          want.words.every((word) => data.search.includes(word));
        row.hidden = !fits;
        shown += fits;
      }
      const own = !want.env || section.dataset.env === want.env;
      const isProblem = want.show === "problems" && own && section.querySelector("[data-held]") !== null;
      section.hidden = rows.length > 0 && shown === 0 && !isProblem;
      for (const table of section.querySelectorAll("table.grid")) table.hidden = shown === 0;
      matches += shown;
    }
    const any = document.querySelector("tr.row") !== null;
    document.getElementById("no-match").hidden = matches > 0 || !any;
    for (const one of tabs()) {
      if (one.dataset.show === want.show) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
      one.href = address({ show: one.dataset.show });
    }
    return matches;
  }

  function address(other = {}) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...Object.fromEntries(new FormData(form)), ...other })) {
      if (value) query.set(name, value);
    }
    const text = query.toString();
    return text ? `/?${text}` : "/";
  }

  let saying = 0;
  function changed() {
    const matches = filter();
    history.replaceState(null, "", address());
    clearTimeout(saying);
    saying = setTimeout(() => say(`${matches} shown`), 600);
  }

  function say(text) {
    document.getElementById("announcer").textContent = text;
  }

  if (form) {
    form.addEventListener("input", changed);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      changed();
    });
    document.addEventListener("click", (event) => {
      const tab = event.target.closest("#tabs a");
      if (!tab || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      form.elements.namedItem("show").value = tab.dataset.show;
      changed();
    });
    const search = form.elements.namedItem("q");
    document.addEventListener("keydown", (event) => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        search.select();
      } else if (event.key === "Escape" && document.activeElement === search) {
        search.value = "";
        changed();
        search.blur();
      } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        step(event, search);
      }
    });
  }

  // Arrows walk over the deployments that are shown.
  function step(event, search) {
    const links = [...document.querySelectorAll("tr.row:not([hidden]) .c-name a")].filter((a) => a.offsetParent);
    const here = links.indexOf(document.activeElement);
    if (here < 0 && document.activeElement !== search) return;
    if (here < 0 && event.key === "ArrowUp") return;
    event.preventDefault();
    const next = event.key === "ArrowDown" ? here + 1 : here - 1;
    if (next < 0) search.focus();
    else if (links[next]) links[next].focus();
  }

  // ---- ages ---------------------------------------------------------------------------------------------------------
  function age(seconds) {
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60]]) {
      if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
    }
    return "now";
  }

  function until(seconds) {
    if (seconds <= 0) return "now";
    const units = [["d", 86400, "h", 3600], ["h", 3600, "m", 60], ["m", 60, "s", 1]];
    for (const [unit, size, small, rest] of units) {
      if (seconds >= size) {
        return `in ${Math.floor(seconds / size)}${unit}${String(Math.floor((seconds % size) / rest)).padStart(2, "0")}${small}`;
      }
    }
    return `in ${seconds}s`;
  }

  // The server's clock is the one that counts; a page's clock may be wrong.
  let ahead = 0;
  function clockOf(response) {
    const at = Date.parse(response.headers.get("date") || "");
    if (!Number.isNaN(at)) ahead = at - Date.now();
  }

  function tick() {
    const now = Date.now() + ahead;
    for (const time of document.querySelectorAll("#live time:not([data-still])")) {
      const seconds = Math.floor((now - Date.parse(time.dateTime)) / 1000);
      const text = "until" in time.dataset ? until(-seconds) : age(Math.max(0, seconds));
      if (time.textContent !== text) time.textContent = text;
    }
  }
  setInterval(() => document.hidden || tick(), 5000);

  // ---- live ---------------------------------------------------------------------------------------------------------
  const connection = document.getElementById("connection");
  function connected(state, text) {
    connection.dataset.state = state;
    document.getElementById("connection-word").textContent = text;
  }

  const plain = (node) => {
    const copy = node.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) time.textContent = "";
    copy.removeAttribute("hidden");
    copy.classList.remove("fresh");
    for (const details of copy.querySelectorAll("details")) details.removeAttribute("open");
    return copy;
  };
  const same = (one, other) => plain(one).isEqualNode(plain(other));

  function put(old, fresh) {
    const node = document.importNode(fresh, true);
    const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const open = [...old.querySelectorAll("details")].map((one) => one.open);
    [...node.querySelectorAll("details")].forEach((one, i) => (one.open = Boolean(open[i])));
    old.replaceWith(node);
    if (focus) [...node.querySelectorAll("a")].find((a) => a.getAttribute("href") === focus)?.focus();
    return node;
  }

  function putRows(body, fresh) {
    const known = new Map([...body.children].map((row) => [row.dataset.key, row]));
    let changes = [];
    let place = body.firstElementChild;
    for (const row of [...fresh.children]) {
      let here = known.get(row.dataset.key);
      known.delete(row.dataset.key);
      if (!here) {
        here = document.importNode(row, true);
        body.insertBefore(here, place);
        changes.push(here);
        continue;
      }
      if (!same(here, row)) {
        const was = here === place;
        here = put(here, row);
        if (was) place = here;
        changes.push(here);
      }
      if (here === place) place = place.nextElementSibling;
      else {
        const focused = here.contains(document.activeElement) ? document.activeElement : null;
        body.insertBefore(here, place);
        if (focused) focused.focus();
      }
    }
    for (const gone of known.values()) gone.remove();
    return changes;
  }

  const keysOf = (node) => [...node.querySelectorAll("section.env")].map((s) => `${s.dataset.key} ${s.querySelector("tbody") !== null}`).join("\n");

  function replaceAll(next) {
    const here = document.getElementById("live");
    here.replaceChildren(...[...next.children].map((child) => document.importNode(child, true)));
  }

  function show(page) {
    const next = page.getElementById("live");
    if (!next) return location.reload();
    let changes = [];
    const here = document.getElementById("live");
    if (keysOf(here) !== keysOf(next)) replaceAll(next);
    else {
      for (const fresh of next.querySelectorAll("tbody[data-rows]")) {
        changes = changes.concat(putRows(here.querySelector(`tbody[data-rows="${CSS.escape(fresh.dataset.rows)}"]`), fresh));
      }
      const parts = "header[data-key], section.card[data-key], div[data-key]";
      for (const fresh of next.querySelectorAll(parts)) {
        const old = here.querySelector(`[data-key="${CSS.escape(fresh.dataset.key)}"]`);
        if (old && !same(old, fresh)) put(old, fresh);
      }
    }
    for (const fresh of page.querySelectorAll("#tabs a")) {
      const tab = tabs().find((one) => one.dataset.show === fresh.dataset.show);
      tab.className = fresh.className;
      tab.querySelector("b").textContent = fresh.querySelector("b").textContent;
    }
    document.title = page.title;
    here.dataset.version = next.dataset.version;
    here.dataset.instance = next.dataset.instance;
    filter();
    tick();
    if (whole) told(changes);
    whole = true;
  }

  function told(changes) {
    for (const row of changes) row.classList.add("fresh");
    setTimeout(() => changes.forEach((row) => row.classList.remove("fresh")), 2500);
    const few = changes.filter((row) => !row.hidden).slice(0, 3);
    if (few.length) say(few.map((row) => `${row.dataset.key}: ${row.dataset.health}, ${row.dataset.op}`).join(". "));
  }

  // A page that was asked for with a filter has the rows that it lets through; the page without one has all of them, and is
  // the same for everybody, so that the server makes it once.
  const path = form ? "/" : location.pathname;
  let whole = !form || location.search === "";
  let asking = false;
  let again = 0;
  async function fetchNow() {
    if (asking) return;
    asking = true;
    try {
      const response = await fetch(path, { headers: { accept: "text/html" } });
      clockOf(response);
      if (response.redirected) return location.reload(); // the session is over
      if (!response.ok && response.status !== 404) throw new Error(String(response.status));
      show(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      connected("lost", "cannot reach the server");
    } finally {
      asking = false;
    }
  }

  function heard(news) {
    const here = document.getElementById("live").dataset;
    connected("live", "live");
    if (whole && here.instance === news.instance && Number(here.version) >= news.version) return;
    clearTimeout(again);
    fetchNow().then(() => {
      // A page may be half a second older than the news.
      const now = document.getElementById("live").dataset;
      if (now.instance === news.instance && Number(now.version) < news.version) again = setTimeout(() => heard(news), 600);
    });
  }

  let polling = 0;
  function listen() {
    if (!window.EventSource) return poll();
    const stream = new EventSource("/events");
    stream.addEventListener("board", (event) => {
      clearInterval(polling);
      polling = 0;
      heard(JSON.parse(event.data));
    });
    stream.addEventListener("error", () => {
      connected("lost", "connecting again");
      if (stream.readyState === EventSource.CLOSED) {
        poll();
        setTimeout(listen, 30000);
      }
    });
    window.addEventListener("pagehide", () => stream.close());
  }

  function poll() {
    connected("slow", "every 15 s");
    if (!polling) polling = setInterval(() => document.hidden || fetchNow(), 15000);
  }

  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  if (whole) filter();
  else fetchNow();
  tick();
  listen();
})();
