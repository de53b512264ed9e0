// Load tests by simulated participants: throughput and latency.
import { useEffect, useState } from "preact/hooks";
import { post } from "../api";
import { measured, millis, number, percent, seconds } from "../format";
import { useGet } from "../live";
import { about } from "../session";
import type { Simulation } from "../types";
import { Counts, Field, Figure, Loading, Notice, Pill, Refused, Section, Table, useAction } from "../ui";
import { t } from "../words";
import { CampaignSelect } from "./select";

type Kind = "async" | "sync" | "bulk";

export function LoadTest({ campaign }: { campaign: number | null }) {
  return (
    <>
      <h1>{t("nav.loadTest")}</h1>
      <p class="lead">{t("load.lead")}</p>
      {about.simulations ? <Bench campaign={campaign} /> : <Off />}
    </>
  );
}

function Off() {
  return (
    <Notice tone="info" live={false}>
      <p>{t("load.off")}</p>
      <pre tabIndex={0}>FIRSTCOME_TEST_ENDPOINTS=true firstcome</pre>
      <p>{t("load.offWhy")}</p>
    </Notice>
  );
}

function Bench({ campaign }: { campaign: number | null }) {
  const [id, setId] = useState(campaign);
  const [kind, setKind] = useState<Kind>("async");
  const [requests, setRequests] = useState("2000");
  const [concurrency, setConcurrency] = useState("50");
  const [quantity, setQuantity] = useState("1");
  const [job, setJob] = useState<string | null>(null);
  const [past, setPast] = useState<Simulation[]>([]);
  const { busy, problem, run } = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    void run(async () => {
      const begun = kind === "bulk"
        ? await post<Simulation>("/api/admin/test/participate-bulk", { campaignId: id, count: Number(requests) })
        : await post<Simulation>(`/api/admin/test/load/${kind}`, { campaignId: id, requests: Number(requests), concurrency: Number(concurrency), quantity: Number(quantity) });
      setJob(begun.jobId);
    });
  };
  const input = (name: string, label: string, value: string, set: (value: string) => void) => (
    <Field name={name} label={label} problem={problem}>
      {(attributes) => <input {...attributes} inputMode="numeric" required value={value} onInput={(event) => set(event.currentTarget.value)} />}
    </Field>
  );
  return (
    <>
      <Notice tone="warn" live={false}><p>{t("load.gone")}</p></Notice>
      <form class="bar" onSubmit={submit}>
        <CampaignSelect id={id} onSelect={setId} problem={problem} />
        <Field name="kind" label={t("load.kind")}>
          {(attributes) => (
            <select {...attributes} value={kind} onChange={(event) => setKind(event.currentTarget.value as Kind)}>
              {(["async", "sync", "bulk"] as const).map((one) => <option key={one} value={one}>{t(`load.kind.${one}`)}</option>)}
            </select>
          )}
        </Field>
        {input(kind === "bulk" ? "count" : "requests", t("load.requests"), requests, setRequests)}
        {kind !== "bulk" && input("concurrency", t("load.concurrency"), concurrency, setConcurrency)}
        {kind !== "bulk" && input("quantity", t("quantity"), quantity, setQuantity)}
        <div class="buttons"><button class="primary" disabled={busy || id === null}>{t("load.start")}</button></div>
      </form>
      <Refused problem={problem} fields />
      {job && <Running key={job} id={job} onEnd={(ended) => setPast((before) => [ended, ...before.filter((one) => one.jobId !== ended.jobId)].slice(0, 20))} />}
      {past.length > 0 && <Past jobs={past} />}
    </>
  );
}

function Running({ id, onEnd }: { id: string; onEnd: (job: Simulation) => void }) {
  const [ended, setEnded] = useState(false);
  const { data, problem } = useGet<Simulation>(`/api/admin/test/load/${id}`, ended ? 0 : 400);
  const cancelling = useAction();
  useEffect(() => {
    if (data && data.status !== "STARTED" && !ended) { setEnded(true); onEnd(data); }
  }, [data, ended]);
  if (!data) return problem ? <Refused problem={problem} /> : <Loading />;
  const { result } = data;
  const cancel = () => cancelling.run(async () => { await post(`/api/admin/test/load/${id}/cancel`); });
  return (
    <Section title={t(`load.kind.${data.kind}`)} aside={<><a href={`#/campaigns/${data.campaignId}`}>{t("load.watch")}</a> <Pill state={data.status} /></>}>
      <div class="progress" role="status">
        <progress max={data.requests} value={data.done} aria-label={t("load.progress")} />
        <p data-testid="done">{number(data.done)} / {number(data.requests)}</p>
        {data.status === "STARTED" && <button disabled={cancelling.busy} onClick={cancel}>{t("load.cancel")}</button>}
      </div>
      <Refused problem={cancelling.problem ?? problem} />
      <dl class="figures-row is-large">
        <Figure name={t("load.rate")}>{measured(result.requestsPerSecond)}</Figure>
        <Figure name={t("load.failures")} tone={result.failureRate > 0 ? "warn" : undefined}>{percent(result.failureRate)}</Figure>
        <Figure name={t("load.duration")}>{seconds(result.durationMs / 1000)}</Figure>
        <Figure name={t("load.avg")}>{millis(result.latencyMs.avg)}</Figure>
      </dl>
      <div class="grid two">
        <Percentiles latency={result.latencyMs} />
        <div><h3>{t("load.outcomes")}</h3><Counts counts={result.outcomes} label={t("load.outcomes")} empty="–" /></div>
      </div>
    </Section>
  );
}

/** The latencies as bars, by percentile. */
function Percentiles({ latency }: { latency: Simulation["result"]["latencyMs"] }) {
  const rows = [["min", latency.min], ["p50", latency.p50], ["p95", latency.p95], ["p99", latency.p99], ["max", latency.max]] as const;
  return (
    <div>
      <h3>{t("live.latency")}</h3>
      <table class="counts">
        <caption class="hidden">{t("live.latency")}</caption>
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <th scope="row"><code>{name}</code></th>
              <td class="bar" aria-hidden="true"><span class="is-latency" style={{ width: `${(value / Math.max(latency.max, 0.001)) * 100}%` }} /></td>
              <td class="number" data-testid={name}>{millis(value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Past({ jobs }: { jobs: Simulation[] }) {
  const head = (
    <>
      <th scope="col">{t("load.kind")}</th><th scope="col">{t("campaign.state")}</th><th scope="col" class="number">{t("load.requests")}</th><th scope="col" class="number">{t("load.concurrency")}</th>
      <th scope="col" class="number">{t("load.rate")}</th><th scope="col" class="number">p50</th><th scope="col" class="number">p95</th><th scope="col" class="number">p99</th><th scope="col" class="number">{t("load.accepted")}</th>
    </>
  );
  return (
    <Section title={t("load.past")}>
      <Table caption={t("load.past")} head={head}>
        {jobs.map(({ jobId, kind, status, requests, concurrency, campaignId, result }) => (
          <tr key={jobId}>
            <th scope="row">{t(`load.kind.${kind}`)}<small>#{campaignId}</small></th><td><Pill state={status} /></td>
            <td class="number">{number(requests)}</td><td class="number">{number(concurrency)}</td><td class="number"><b>{measured(result.requestsPerSecond)}</b></td>
            <td class="number">{millis(result.latencyMs.p50)}</td><td class="number">{millis(result.latencyMs.p95)}</td><td class="number">{millis(result.latencyMs.p99)}</td>
            <td class="number">{number(result.outcomes["ACCEPTED"] ?? 0)}</td>
          </tr>
        ))}
      </Table>
    </Section>
  );
}
