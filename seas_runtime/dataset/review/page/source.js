// Where pairs come from: the server of seas-data review, or the data inside a file of --static.

const PAGE = 2000;

export function open() {
  const embedded = document.getElementById("embedded");
  return embedded ? new Embedded(JSON.parse(embedded.textContent)) : new Server();
}

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error("seas-data review does not answer; it may have been ended. Decisions made before are kept.");
  }
  if (response.ok) return response.json();
  const body = await response.json().catch(() => ({}));
  if (response.status === 403 && !body.error) throw new Error("This page is an old one; open the address that was printed last.");
  throw Object.assign(new Error(body.error || `seas-data review answered ${response.status}`), { status: response.status });
}

class Server {
  live = true;

  async describe() {
    this.info = await answer(fetch("/api/gallery"));
    return this.info;
  }

  pairs(from) {
    return answer(fetch(`/api/pairs?from=${from}&count=${PAGE}`));
  }

  changes(revision, surveyed) {
    return answer(fetch(`/api/changes?revision=${revision}&surveyed=${surveyed}`));
  }

  figures(type, decision) {
    const query = new URLSearchParams();
    if (type) query.set("type", type);
    if (decision) query.set("decision", decision);
    return answer(fetch(`/api/figures?${query}`));
  }

  decide(decisions) {
    const body = JSON.stringify({ decisions });
    return answer(fetch("/api/decisions", { method: "POST", body, headers: { "Content-Type": "application/json" } }));
  }

  mend(pair, bits, base) {
    return answer(fetch(`/api/masks/${pair.index}?base=${base}`, { method: "PUT", body: bits }));
  }

  restore(pair, base) {
    return answer(fetch(`/api/masks/${pair.index}?base=${base}`, { method: "DELETE" }));
  }

  // Addresses of small pictures and overlays by index; none where they cannot be shown.
  async thumbs(pairs) {
    const views = await answer(fetch(`/api/views?pairs=${pairs.map((pair) => pair.index).join(",")}`));
    return addresses(views);
  }

  // Addresses change with what they show, so that browsers may keep what they have.
  image(pair, generation) {
    return `/pair/${pair.index}/image.png?v=${this.info.era}.${generation}`;
  }

  mask(pair, generation, generated = false) {
    const which = generated ? "&generated=1" : "";
    return `/pair/${pair.index}/mask.png?v=${this.info.era}.${generation}.${pair.maskRevision}${which}`;
  }

  hasReal() {
    return true;
  }

  real(number, size) {
    return `/real/${number}/${size}?v=${this.info.era}`;
  }
}

class Embedded {
  live = false;

  constructor(data) {
    this.data = data;
  }

  async describe() {
    return this.data.gallery;
  }

  async pairs(from) {
    return { ...this.data.page, rows: this.data.page.rows.slice(from) };
  }

  async changes() {
    return this.data.changes;
  }

  async figures(type, decision) {
    return this.data.figures[`${decision ?? ""}/${type ?? ""}`];
  }

  async thumbs() {
    this.addresses ??= addresses(this.data.views);
    return this.addresses;
  }

  hasReal(number) {
    return number in this.data.reals;
  }

  real(number, size) {
    const [picture, overlay] = this.data.reals[number];
    return size === "overlay" ? `data:image/png;base64,${overlay}` : `data:image/jpeg;base64,${picture}`;
  }
}

// What data of small pictures are called as a picture's source: {index: [JPEG, PNG]} in base64.
function addresses(views) {
  const entries = Object.entries(views).filter(([, view]) => view);
  return Object.fromEntries(
    entries.map(([index, [picture, overlay]]) => [index, [`data:image/jpeg;base64,${picture}`, `data:image/png;base64,${overlay}`]]),
  );
}
