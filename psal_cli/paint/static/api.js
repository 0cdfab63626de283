// Requests to the server. Changes are sent one after another, each with the revision that resulted from the previous one.

const hash = new URLSearchParams(location.hash.slice(1));
export const token = hash.get("token") ?? "";
export const headers = { "X-Psal-Token": token };

export class Refused extends Error {
  constructor(status, record) {
    super(record.error ?? `the server says ${status}`);
    this.status = status;
    this.record = record;
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
  const record = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, record);
  return record;
}

export async function image(path) {
  const answer = await fetch(path, { headers });
  if (!answer.ok) throw new Refused(answer.status, {});
  return URL.createObjectURL(await answer.blob());
}

// The changes of one picture, in order. Calls `changed` with each answer, `stale` when another tab or a finished run changed the
// picture first, `dropped` with each change given up for that reason, and `lost` with true when the server stops answering and
// with false when it answers again.
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
        const record = await ask(this.path + name, { ...body, revision: this.revision });
        if (lost) this.on.lost(false);
        if (record.revision !== undefined) this.revision = record.revision;
        this.on.changed(record);
        return record;
      } catch (error) {
        if (error instanceof Lost && !this.over) {
          lost = true;
          this.on.lost(true);
          await new Promise((resolve) => setTimeout(resolve, 1500));
          continue;
        }
        if (error.record?.stale) {
          this.on.dropped(name, body);
          if (!this.over) this.on.stale();
        }
        throw error;
      }
    }
  }
}
