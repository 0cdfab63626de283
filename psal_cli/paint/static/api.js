// Requests to the server. Changes go one after another, each with the revision that the one before left.

const hash = new URLSearchParams(location.hash.slice(1));
export const token = hash.get("token") ?? "";
export const headers = { "X-Psal-Token": token };

export class Refused extends Error {
  constructor(status, found) {
    super(found.error ?? `the server says ${status}`);
    this.status = status;
    this.found = found;
  }
}

export class Lost extends Error {}

export async function ask(path, body) {
  const options = body === undefined
    ? { headers }
    : { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Lost("psal does not answer: is it still running?");
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, found);
  return found;
}

export async function image(path) {
  const answer = await fetch(path, { headers });
  if (!answer.ok) throw new Refused(answer.status, {});
  return URL.createObjectURL(await answer.blob());
}

// The changes of one picture, in order. `changed` is told of each answer, `stale` when something else was faster (another tab, or
// a run that ended), `dropped` of each change that is not made because of that, and `lost` with true while the server does not
// answer and with false when it does again.
export class Changes {
  constructor(number, revision, on) {
    this.path = `/api/pictures/${number}/`;
    this.revision = revision;
    this.on = on;
    this.last = Promise.resolve();
    this.waiting = 0;
  }

  send(name, body = {}) {
    this.waiting += 1;
    this.on.changed({});
    const sent = this.last.then(() => this.#sent(name, body));
    this.last = sent.catch(() => {}).finally(() => {
      this.waiting -= 1;
      this.on.changed({});
    });
    return sent;
  }

  async #sent(name, body) {
    if (this.over) {
      this.on.dropped(name, body);
      throw new Refused(409, { stale: true });
    }
    for (let lost = false; ; ) {
      try {
        const found = await ask(this.path + name, { ...body, revision: this.revision });
        if (lost) this.on.lost(false);
        if (found.revision !== undefined) this.revision = found.revision;
        this.on.changed(found);
        return found;
      } catch (error) {
        if (error instanceof Lost && !this.over) {
          lost = true;
          this.on.lost(true);
          await new Promise((resolve) => setTimeout(resolve, 1500));
          continue;
        }
        if (error.found?.stale) {
          this.on.dropped(name, body);
          if (!this.over) this.on.stale();
        }
        throw error;
      }
    }
  }
}
