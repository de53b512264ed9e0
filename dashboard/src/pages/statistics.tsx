// Statistics of a day, raw and aggregated side by side, and of one campaign over several days.
import { useEffect, useState } from "preact/hooks";
import { query } from "../api";
import { Chart } from "../chart";
import { dateTime, day, measured, number, percent } from "../format";
import { useGet, type Asked } from "../live";
import { go } from "../router";
import { about } from "../session";
import type { CampaignOfDay, CampaignStatistics, DayStatistics, Summary } from "../types";
import { Counts, Empty, Field, Figure, Loading, Notice, Refused, Section, Table } from "../ui";
import { t } from "../words";
import { CampaignSelect } from "./select";

export function Statistics({ tab, id }: { tab: "day" | "campaign"; id: number | null }) {
  return (
    <>
      <div class="head">
        <h1>{t("nav.statistics")}</h1>
        <ul class="tabs">
          <li><a href="#/statistics" aria-current={tab === "day" ? "page" : undefined}>{t("stats.day")}</a></li>
          <li><a href="#/statistics/campaign" aria-current={tab === "campaign" ? "page" : undefined}>{t("stats.byDay")}</a></li>
        </ul>
      </div>
      {tab === "day" ? <Day /> : <Period key={id} id={id} />}
    </>
  );
}

function Day() {
  const [date, setDate] = useState(day(about.zone, 0));
  const [zone, setZone] = useState(about.zone);
  // Kept while it is typed: an answer draws the page anew, and the field with it.
  const [typed, setTyped] = useState(about.zone);
  const choose = (chosen: string) => { setTyped(chosen); setZone(chosen); };
  const kept = useGet<DayStatistics>(date ? `/api/admin/stats/daily${query({ date, zone })}` : null);
  // One after the other, so that neither waits for the other.
  const raw = useGet<DayStatistics>(date && (kept.data || kept.problem) ? `/api/admin/stats/raw${query({ date, zone })}` : null);
  const refused = raw.problem ?? null;
  return (
    <>
      <form class="bar" onSubmit={(event) => event.preventDefault()}>
        <Field name="date" label={t("stats.date")} problem={refused}>
          {(input) => <input {...input} type="date" value={date} max={day(zone || "UTC", 0)} onInput={(event) => setDate(event.currentTarget.value)} />}
        </Field>
        <Field name="zone" label={t("stats.zone")} problem={refused}>
          {(input) => <input {...input} value={typed} spellcheck={false} onInput={(event) => setTyped(event.currentTarget.value)} onChange={(event) => choose(event.currentTarget.value.trim() || about.zone)} />}
        </Field>
        <div class="buttons">
          <button type="button" onClick={() => setDate(day(zone, -1))}>{t("stats.yesterday")}</button>
          <button type="button" onClick={() => setDate(day(zone, 0))}>{t("stats.today")}</button>
          <button type="button" onClick={async () => { await kept.again(); await raw.again(); }}>{t("stats.again")}</button>
        </div>
      </form>
      <Compared raw={raw} kept={kept} date={date} />
      {(raw.data ?? kept.data) && <DayTables raw={raw.data} kept={kept.data} />}
    </>
  );
}

/** Raw and aggregated: the duration of each, and their ratio. */
function Compared({ raw, kept, date }: { raw: Asked<DayStatistics>; kept: Asked<DayStatistics>; date: string }) {
  const most = Math.max(raw.data?.queryTimeMs ?? 0, kept.data?.queryTimeMs ?? 0, 0.001);
  const factor = raw.data && kept.data ? raw.data.queryTimeMs / Math.max(kept.data.queryTimeMs, 0.001) : null;
  return (
    <Section title={t("stats.compared")} aside={factor !== null && <p class={`factor ${factor >= 1 ? "is-good" : ""}`}><b data-testid="factor">{measured(factor >= 1 ? factor : 1 / factor)}×</b> {factor >= 1 ? t("stats.faster") : t("stats.slower")}</p>}>
      <div class="grid two compared">
        <Way title={t("stats.raw")} method="RAW_QUERY" asked={raw} most={most} date={date} />
        <Way title={t("stats.kept")} method="BATCH_AGGREGATED" asked={kept} most={most} date={date} />
      </div>
    </Section>
  );
}

function Way({ title, method, asked: { data, problem }, most, date }: { title: string; method: string; asked: Asked<DayStatistics>; most: number; date: string }) {
  return (
    <div class="way">
      <h3>{title} <code>{method}</code></h3>
      {data && (
        <>
          <p class="took"><b>{measured(data.queryTimeMs)} ms</b></p>
          <div class="track" aria-hidden="true"><span style={{ width: `${Math.max(0.5, (data.queryTimeMs / most) * 100)}%` }} /></div>
          <Numbers summary={data.summary} />
          {data.aggregatedAt && <p class="hint">{t("stats.aggregatedAt", { at: dateTime(data.aggregatedAt) })} {!data.complete && <b>{t("stats.incomplete")}</b>}</p>}
        </>
      )}
      {!data && !problem && <Loading />}
      {problem?.code === "NOT_AGGREGATED"
        ? <Notice tone="info"><p>{t("stats.notAggregated")} <a href={`#/aggregation?date=${date}`}>{t("stats.aggregateNow")}</a></p></Notice>
        : <Refused problem={problem} fields />}
    </div>
  );
}

function Numbers({ summary }: { summary: Summary }) {
  return (
    <dl class="figures-row">
      <Figure name={t("stats.success")}>{number(summary.successCount)}</Figure>
      <Figure name={t("stats.fail")}>{number(summary.failCount)}</Figure>
      <Figure name={t("stats.rate")}>{summary.successRate}</Figure>
      <Figure name={t("stats.units")}>{number(summary.unitsStanding)}</Figure>
      <Figure name={t("stats.campaigns")}>{number(summary.campaignCount)}</Figure>
    </dl>
  );
}

function DayTables({ raw, kept }: { raw: DayStatistics | null; kept: DayStatistics | null }) {
  const shown = raw ?? kept;
  if (!shown) return null;
  if (shown.campaigns.length === 0) return <Empty>{t("stats.nothing")}</Empty>;
  const hours = Array.from({ length: 24 }, (_, hour) => shown.campaigns.reduce((sum, one) => sum + (one.hours[hour] ?? 0), 0));
  const keptOf = (id: number) => kept?.campaigns.find((one) => one.campaignId === id);
  const head = (
    <>
      <th scope="col" class="number">#</th><th scope="col">{t("campaign.name")}</th><th scope="col" class="number">{t("stats.success")}</th>
      <th scope="col" class="number">{t("stats.fail")}</th><th scope="col" class="number">{t("stats.rate")}</th>
      <th scope="col" class="number">{t("stats.units")}</th><th scope="col">{t("stats.agree")}</th>
    </>
  );
  return (
    <>
      <div class="grid two">
        <Section title={t("stats.hours")}>
          <Chart label={t("stats.hoursSaid", { most: number(Math.max(...hours)) })} over="numbers" bars height={150} at={(hour) => `${hour}:00`}
            data={[hours.map((_, hour) => hour), hours]} series={[{ name: t("stats.success"), color: "--series-b", unit: (value) => number(value) }]} />
        </Section>
        <Section title={t("live.refusals")}>
          <Counts counts={shown.summary.failures} label={t("live.refusals")} empty={t("live.noRefusals")} />
        </Section>
      </div>
      <Section title={t("nav.campaigns")}>
        <Table caption={t("stats.day")} head={head}>
          {shown.campaigns.map((one) => (
            <tr key={one.campaignId}>
              <td class="number muted">{one.campaignId}</td>
              <th scope="row"><a href={`#/statistics/campaign/${one.campaignId}`}>{one.campaignName}</a></th>
              <td class="number">{number(one.successCount)}</td><td class="number">{number(one.failCount)}</td>
              <td class="number">{one.successRate}</td><td class="number">{number(one.unitsStanding)}</td>
              <td><Agree raw={raw ? one : undefined} kept={keptOf(one.campaignId)} /></td>
            </tr>
          ))}
        </Table>
      </Section>
    </>
  );
}

/** Whether both results are equal; on a current day the raw one is soon ahead. */
function Agree({ raw, kept }: { raw: CampaignOfDay | undefined; kept: CampaignOfDay | undefined }) {
  if (!raw || !kept) return <span class="muted">–</span>;
  const behind = raw.totalCount - kept.totalCount;
  return behind === 0 && raw.units === kept.units ? <span class="good">{t("stats.same")}</span> : <span class="warn">{t("stats.behind", { n: number(behind) })}</span>;
}

function Period({ id }: { id: number | null }) {
  const [from, setFrom] = useState(day(about.zone, -13));
  const [until, setUntil] = useState(day(about.zone, 0));
  const asked = useGet<CampaignStatistics>(id ? `/api/admin/stats/campaign/${id}${query({ startDate: from, endDate: until })}` : null);
  const { data, problem } = asked;
  useEffect(() => { document.title = `${data?.campaignName ?? t("nav.statistics")} · firstcome`; }, [data]);
  return (
    <>
      <form class="bar" onSubmit={(event) => event.preventDefault()}>
        <CampaignSelect id={id} onSelect={(next) => go(`#/statistics/campaign/${next}`)} />
        <Field name="startDate" label={t("stats.from")} problem={problem}>
          {(input) => <input {...input} type="date" value={from} onInput={(event) => setFrom(event.currentTarget.value)} />}
        </Field>
        <Field name="endDate" label={t("stats.until")} problem={problem}>
          {(input) => <input {...input} type="date" value={until} onInput={(event) => setUntil(event.currentTarget.value)} />}
        </Field>
      </form>
      <Refused problem={problem} />
      {id && !data && !problem && <Loading />}
      {data && <PeriodTables data={data} />}
    </>
  );
}

function PeriodTables({ data }: { data: CampaignStatistics }) {
  const head = (
    <>
      <th scope="col">{t("stats.date")}</th><th scope="col" class="number">{t("stats.success")}</th><th scope="col" class="number">{t("stats.fail")}</th>
      <th scope="col" class="number">{t("stats.rate")}</th><th scope="col" class="number">{t("stats.units")}</th><th scope="col" class="number">{t("state.cancelled")}</th><th scope="col" class="number">{t("state.expired")}</th>
    </>
  );
  const success = data.days.map((one) => one.successCount);
  return (
    <>
      <Section title={data.campaignName} aside={<span class="muted">{measured(data.queryTimeMs)} ms</span>}><Numbers summary={data.summary} /></Section>
      {data.missingDates.length > 0 && (
        <Notice tone="info">
          <p>{t("stats.missing")} {data.missingDates.map((date, index) => <>{index > 0 && ", "}<a href={`#/aggregation?date=${date}`}>{date}</a></>)}</p>
        </Notice>
      )}
      {data.days.length === 0 ? <Empty>{t("stats.nothing")}</Empty> : (
        <>
          <Chart label={t("stats.byDay")} over="numbers" bars height={150} at={(index) => data.days[Math.round(index)]?.date.slice(5) ?? ""}
            data={[success.map((_, index) => index), success]} series={[{ name: t("stats.success"), color: "--series-b", unit: (value) => number(value) }]} />
          <Table caption={t("stats.byDay")} head={head}>
            {data.days.map((one) => (
              <tr key={one.date}>
                <th scope="row">{one.date}</th><td class="number">{number(one.successCount)}</td><td class="number">{number(one.failCount)}</td>
                <td class="number">{one.totalCount > 0 ? percent(one.successCount / one.totalCount) : "–"}</td><td class="number">{number(one.unitsStanding)}</td>
                <td class="number">{number(one.byStatus.cancelled)}</td><td class="number">{number(one.byStatus.expired)}</td>
              </tr>
            ))}
          </Table>
        </>
      )}
    </>
  );
}
