// Aggregation runs: manual start, progress and history.
import { useEffect, useState } from "preact/hooks";
import { ask, get, query } from "../api";
import { dateTime, day, number, seconds } from "../format";
import { useGet } from "../live";
import { about } from "../session";
import type { Page, Run } from "../types";
import { Empty, Field, Loading, More, Notice, Pill, Refused, Section, Table, useAction } from "../ui";
import { t, word } from "../words";

export function Aggregation({ date: asked }: { date: string | null }) {
  const [date, setDate] = useState(asked ?? day(about.zone, -1));
  const [force, setForce] = useState(false);
  const [watched, setWatched] = useState<number | null>(null);
  const { busy, problem, run, clear } = useAction();
  const history = useGet<Page<Run>>("/api/admin/batch/history?limit=20", 5000);
  const submit = (event: Event) => {
    event.preventDefault();
    void run(async () => {
      const begun = await ask<Run>("POST", `/api/admin/batch/aggregate${query({ date, force: force ? "true" : null })}`);
      setWatched(begun.jobExecutionId);
      history.again();
    });
  };
  const running = problem?.code === "AGGREGATION_RUNNING" ? Number(problem.members["jobExecutionId"]) : null;
  // A rejected day is an error of the date field.
  const ofDate = problem && (problem.code.startsWith("DATE_") || problem.errors.some((error) => error.field === "date"));
  return (
    <>
      <h1>{t("nav.aggregation")}</h1>
      <p class="lead">{t("aggregation.lead", { zone: about.zone })}</p>
      <form class="bar" onSubmit={submit}>
        <Field name="date" label={t("stats.date")} problem={problem}>
          {(input) => <input {...input} type="date" required value={date} aria-invalid={Boolean(ofDate)} onInput={(event) => { setDate(event.currentTarget.value); clear(); }} />}
        </Field>
        <label class="check"><input type="checkbox" checked={force} onChange={(event) => setForce(event.currentTarget.checked)} />{t("aggregation.force")}</label>
        <div class="buttons"><button class="primary" disabled={busy || !date}>{t("aggregation.start")}</button></div>
      </form>
      {running
        ? <Notice tone="warn"><p>{t("aggregation.running", { n: running })} <button class="link" onClick={() => { setWatched(running); clear(); }}>{t("aggregation.watch")}</button></p></Notice>
        : <Refused problem={problem} />}
      {watched !== null && <Watched key={watched} id={watched} onEnd={history.again} />}
      <History first={history.data} />
      <Refused problem={history.problem} />
    </>
  );
}

function Watched({ id, onEnd }: { id: number; onEnd: () => void }) {
  const [ended, setEnded] = useState(false);
  const { data, problem } = useGet<Run>(`/api/admin/batch/status/${id}`, ended ? 0 : 500);
  useEffect(() => {
    if (data && data.status !== "STARTED" && !ended) { setEnded(true); onEnd(); }
  }, [data, ended]);
  if (!data) return problem ? <Refused problem={problem} /> : <Loading />;
  const { percent, participations, campaigns, campaignsDone, campaignsFailed } = data.progress;
  return (
    <Section title={t("aggregation.run", { n: id, date: data.date })} aside={<Pill state={data.status} />}>
      <div class="progress" role="status">
        <progress max={100} value={data.status === "COMPLETED" ? 100 : percent} aria-label={t("aggregation.progress")} />
        <p>{t("aggregation.read", { n: number(participations) })} · {t("aggregation.written", { done: number(campaignsDone), all: number(campaigns) })}{campaignsFailed > 0 && <b class="bad"> · {t("aggregation.failed", { n: number(campaignsFailed) })}</b>}</p>
      </div>
      {data.error && <Notice tone="bad"><p>{word(`code.${data.error}`, data.error)} <code>{data.error}</code></p></Notice>}
      {data.failures.length > 0 && <ul>{data.failures.map((one) => <li key={one.campaignId}>#{one.campaignId} <code>{one.code}</code></li>)}</ul>}
      {data.status === "COMPLETED" && <p><a href="#/statistics">{t("aggregation.look")}</a></p>}
    </Section>
  );
}

function History({ first }: { first: Page<Run> | null }) {
  const [rest, setRest] = useState<Page<Run> | null>(null);
  const { problem, run } = useAction();
  if (!first) return <Loading />;
  const cursor = rest ? rest.nextCursor : first.nextCursor;
  const more = () => run(async () => {
    const page = await get<Page<Run>>(`/api/admin/batch/history${query({ limit: 20, cursor })}`);
    setRest((before) => ({ items: [...(before?.items ?? []), ...page.items], nextCursor: page.nextCursor }));
  });
  const took = ({ startedAt, finishedAt }: Run) => (finishedAt ? seconds((Date.parse(finishedAt) - Date.parse(startedAt)) / 1000) : "–");
  const head = (
    <>
      <th scope="col" class="number">#</th><th scope="col">{t("stats.date")}</th><th scope="col">{t("campaign.state")}</th>
      <th scope="col">{t("aggregation.cause")}</th><th scope="col">{t("aggregation.startedAt")}</th><th scope="col" class="number">{t("aggregation.took")}</th>
      <th scope="col" class="number">{t("aggregation.rows")}</th><th scope="col" class="number">{t("nav.campaigns")}</th>
    </>
  );
  return (
    <Section title={t("aggregation.history")}>
      {first.items.length === 0 ? <Empty>{t("aggregation.none")}</Empty> : (
        <Table caption={t("aggregation.history")} head={head}>
          {[...first.items, ...(rest?.items ?? [])].map((one) => (
            <tr key={one.jobExecutionId}>
              <td class="number muted">{one.jobExecutionId}</td><th scope="row">{one.date}<small>{one.zone}</small></th>
              <td><Pill state={one.status} />{one.error && <small><code>{one.error}</code></small>}</td>
              <td>{word(`cause.${one.cause}`, one.cause)}</td><td class="muted">{dateTime(one.startedAt)}</td>
              <td class="number">{took(one)}</td><td class="number">{number(one.progress.participations)}</td>
              <td class="number">{number(one.progress.campaignsDone)}{one.progress.campaignsFailed > 0 && <span class="bad"> / {number(one.progress.campaignsFailed)}</span>}</td>
            </tr>
          ))}
        </Table>
      )}
      <Refused problem={problem} />
      <More cursor={cursor} onMore={more} />
    </Section>
  );
}
