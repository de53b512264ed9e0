// The installation: unpublished events, relays, breakers.
import { number, seconds, short } from "../format";
import { useGet } from "../live";
import type { System } from "../types";
import { Figure, Loading, Pill, Refused, Section, Table } from "../ui";
import { t, word } from "../words";

/** Number of buckets of the outbox; each is published by one replica at a time. */
const BUCKETS = 64;
/** Age from which a pending event is highlighted. */
const OLD_SECONDS = 10;

export function SystemPage() {
  return <><h1>{t("nav.system")}</h1><SystemPanel whole /></>;
}

export function SystemPanel({ whole = false }: { whole?: boolean }) {
  const { data, problem } = useGet<System>("/api/admin/system", 1000);
  if (!data) return problem ? <Refused problem={problem} /> : <Loading />;
  return (
    <>
      {problem && <Refused problem={problem} />}
      <div class="grid three">
        <Outbox system={data} />
        <Replicas system={data} />
        <Breakers system={data} />
      </div>
      {whole && <ReplicaTable system={data} />}
    </>
  );
}

function Outbox({ system: { outbox } }: { system: System }) {
  const old = outbox.oldestAgeSeconds !== null && outbox.oldestAgeSeconds > OLD_SECONDS;
  return (
    <Section title={t("system.outbox")}>
      <dl class="figures-row">
        <Figure name={t("system.oldest")} tone={old ? "bad" : undefined}>{outbox.oldestAgeSeconds === null ? "–" : seconds(outbox.oldestAgeSeconds)}</Figure>
        <Figure name={t("system.pending")}>{number(outbox.pending)}</Figure>
        <Figure name={t("system.retry")} tone={outbox.retry > 0 ? "warn" : undefined}>{number(outbox.retry)}</Figure>
        <Figure name={t("system.blocked")} tone={outbox.blocked > 0 ? "warn" : undefined}>{number(outbox.blocked)}</Figure>
        <Figure name={t("system.dead")} tone={outbox.dead > 0 ? "bad" : undefined}><a href="#/dead-letters">{number(outbox.dead)}</a></Figure>
      </dl>
    </Section>
  );
}

function owners(system: System): Map<number, number> {
  const byBucket = new Map<number, number>();
  system.replicas.forEach((replica, index) => replica.buckets.forEach((bucket) => byBucket.set(bucket, index)));
  return byBucket;
}

/** All buckets as a grid of squares, each in the colour of its replica. */
function Replicas({ system }: { system: System }) {
  const byBucket = owners(system);
  const free = BUCKETS - byBucket.size;
  const said = [...system.replicas.map((replica) => `${short(replica.owner)}: ${replica.buckets.length}`), free > 0 ? `${t("system.free")}: ${free}` : ""];
  return (
    <Section title={t("system.replicas")} aside={<span class="muted">{t("system.replicasCount", { n: number(system.replicas.length) })}</span>}>
      <div class="buckets" role="img" aria-label={said.filter(Boolean).join(", ")}>
        {Array.from({ length: BUCKETS }, (_, bucket) => {
          const owner = byBucket.get(bucket);
          return <i key={bucket} class={owner === undefined ? "is-free" : `owner-${owner % 6}`} />;
        })}
      </div>
      <ul class="owners">
        {system.replicas.map((replica, index) => (
          <li key={replica.owner}><i class={`owner-${index % 6}`} aria-hidden="true" /><code>{short(replica.owner)}</code> <b>{replica.buckets.length}</b>{replica.here && <small>{t("system.here")}</small>}</li>
        ))}
        {free > 0 && <li class="bad">{t("system.freeBuckets", { n: number(free) })}</li>}
      </ul>
    </Section>
  );
}

function Breakers({ system }: { system: System }) {
  return (
    <Section title={t("system.breakers")} aside={<span class="muted">{t("system.ofHere")}</span>}>
      <table class="plain">
        <caption class="hidden">{t("system.breakers")}</caption>
        <tbody>
          {system.breakers.map((breaker) => (
            <tr key={breaker.name}><th scope="row">{word(`breaker.${breaker.name}`, breaker.name)}</th><td><Pill state={`breaker_${breaker.state}`} /></td></tr>
          ))}
        </tbody>
      </table>
      <ul class="parts" aria-label={t("system.parts")}>
        {system.parts.map((part) => <li key={part.name} class={`is-${part.status}`}><i aria-hidden="true" />{word(`partName.${part.name}`, part.name)}<span class="hidden">: {part.status}</span></li>)}
      </ul>
    </Section>
  );
}

function ReplicaTable({ system }: { system: System }) {
  const head = <><th scope="col">{t("system.replica")}</th><th scope="col" class="number">{t("system.buckets")}</th><th scope="col" class="number">{t("system.lease")}</th><th scope="col">{t("system.which")}</th></>;
  return (
    <Section title={t("system.leases")}>
      <Table caption={t("system.leases")} head={head}>
        {system.replicas.map((replica) => (
          <tr key={replica.owner}>
            <th scope="row"><code>{replica.owner}</code>{replica.here && <small>{t("system.here")}</small>}</th>
            <td class="number">{replica.buckets.length}</td>
            <td class="number">{seconds(replica.leaseSeconds)}</td>
            <td class="muted wrap">{ranges(replica.buckets)}</td>
          </tr>
        ))}
      </Table>
      <p class="hint">{t("system.hint")}</p>
    </Section>
  );
}

/** 0–3, 7, 9–12 */
function ranges(numbers: number[]): string {
  const found: [number, number][] = [];
  for (const one of numbers) {
    const last = found[found.length - 1];
    if (last && one === last[1] + 1) last[1] = one;
    else found.push([one, one]);
  }
  return found.map(([from, to]) => (from === to ? from : `${from}–${to}`)).join(", ") || "–";
}
