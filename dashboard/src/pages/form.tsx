// Creates or changes a campaign. Errors are shown at their fields.
import { useEffect, useRef, useState } from "preact/hooks";
import { patch, post, type Problem } from "../api";
import { fromLocalInput, toLocalInput } from "../format";
import { useGet } from "../live";
import { go } from "../router";
import type { Campaign } from "../types";
import { Field, Input, Loading, Refused, useAction } from "../ui";
import { fieldProblem, t, word, type Key } from "../words";

type RewardKind = "none" | "points" | "coupon";
interface Draft {
  name: string; description: string; kind: string; start: string; unlimited: boolean; totalStock: string;
  perUserLimit: string; maxQuantity: string; price: string; holdSeconds: string; opensAt: string; closesAt: string;
  cancellable: boolean; reward: RewardKind; points: string; discountAmount: string; minimumOrderAmount: string;
  validFrom: string; validUntil: string;
}

const FRESH: Draft = {
  name: "", description: "", kind: "points", start: "", unlimited: false, totalStock: "100", perUserLimit: "1", maxQuantity: "1",
  price: "", holdSeconds: "120", opensAt: "", closesAt: "", cancellable: false, reward: "points", points: "100",
  discountAmount: "1000", minimumOrderAmount: "0", validFrom: "", validUntil: "",
};

function draftOf(campaign: Campaign): Draft {
  const { reward } = campaign;
  const text = (value: number | null | undefined) => (value === null || value === undefined ? "" : String(value));
  return {
    ...FRESH,
    name: campaign.name, description: campaign.description, kind: campaign.kind,
    unlimited: campaign.totalStock === null, totalStock: text(campaign.totalStock),
    perUserLimit: text(campaign.perUserLimit), maxQuantity: text(campaign.maxQuantity), price: text(campaign.price),
    holdSeconds: text(campaign.holdSeconds), opensAt: toLocalInput(campaign.opensAt), closesAt: toLocalInput(campaign.closesAt),
    cancellable: campaign.cancellable,
    reward: reward?.points ? "points" : reward?.coupon ? "coupon" : "none", points: text(reward?.points ?? 100),
    discountAmount: text(reward?.coupon?.discountAmount ?? 1000), minimumOrderAmount: text(reward?.coupon?.minimumOrderAmount ?? 0),
    validFrom: toLocalInput(reward?.coupon?.validFrom ?? null), validUntil: toLocalInput(reward?.coupon?.validUntil ?? null),
  };
}

/** The input, as the service expects it; the service also rejects invalid numbers. */
const numeric = (text: string): number | string | null => {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  return /^-?\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : trimmed;
};

function bodyOf(draft: Draft): Record<string, unknown> {
  const required = (text: string) => numeric(text) ?? undefined;
  const reward = draft.reward === "none" ? null
    : draft.reward === "points" ? { points: numeric(draft.points) }
    : { coupon: {
        discountAmount: required(draft.discountAmount), minimumOrderAmount: required(draft.minimumOrderAmount),
        validFrom: fromLocalInput(draft.validFrom), validUntil: fromLocalInput(draft.validUntil),
      } };
  return {
    name: draft.name, description: draft.description, kind: draft.kind,
    totalStock: draft.unlimited ? null : numeric(draft.totalStock) ?? "",
    perUserLimit: required(draft.perUserLimit), maxQuantity: required(draft.maxQuantity), price: numeric(draft.price),
    holdSeconds: required(draft.holdSeconds), opensAt: fromLocalInput(draft.opensAt), closesAt: fromLocalInput(draft.closesAt),
    cancellable: draft.cancellable, reward, ...(draft.start ? { state: draft.start } : {}),
  };
}

/** The changed fields: the others are not sent, so concurrent changes of them are preserved. */
function changed(before: Draft, after: Draft): Record<string, unknown> {
  const old = bodyOf(before);
  const entries = Object.entries(bodyOf(after)).filter(([key, value]) => key !== "kind" && JSON.stringify(value) !== JSON.stringify(old[key]));
  return Object.fromEntries(entries);
}

export function CampaignForm({ id }: { id: number | null }) {
  const found = useGet<Campaign>(id === null ? null : `/api/admin/campaigns/${id}`);
  if (id === null) return <Form id={null} from={FRESH} />;
  if (found.data) return <Form id={id} from={draftOf(found.data)} />;
  return <><h1>{t("form.edit")}</h1>{found.problem ? <Refused problem={found.problem} /> : <Loading />}</>;
}

function Form({ id, from }: { id: number | null; from: Draft }) {
  const [before] = useState(from);
  const [draft, setDraft] = useState(from);
  const { busy, problem, run } = useAction();
  const set = (change: Partial<Draft>) => setDraft((old) => ({ ...old, ...change }));
  const submit = (event: Event) => {
    event.preventDefault();
    void run(async () => {
      const campaign = id === null
        ? await post<Campaign>("/api/admin/campaigns", bodyOf(draft))
        : await patch<Campaign>(`/api/admin/campaigns/${id}`, changed(before, draft));
      go(`#/campaigns/${campaign.id}`);
    });
  };
  const text = (name: keyof Draft, field: string, label: Key, more: { hint?: Key; kind?: "text" | "time"; off?: boolean } = {}) => (
    <Field name={field} label={t(label)} problem={problem} hint={more.hint && t(more.hint)} class={more.kind === "text" ? "wide" : ""}>
      {(input) => <Input {...input} kind={more.kind ?? "number"} disabled={more.off} value={more.off ? "∞" : String(draft[name])} onValue={(value) => set({ [name]: value })} />}
    </Field>
  );
  return (
    <form class="campaign" onSubmit={submit} noValidate>
      <h1>{id === null ? t("form.new") : t("form.edit")}</h1>
      <Wrong problem={problem} />
      <fieldset>
        <legend>{t("form.what")}</legend>
        {text("name", "name", "campaign.name", { kind: "text" })}
        <Field name="description" label={t("campaign.description")} problem={problem} class="wide">
          {(input) => <textarea {...input} rows={2} value={draft.description} onInput={(event) => set({ description: event.currentTarget.value })} />}
        </Field>
        {id === null && (
          <>
            <Field name="kind" label={t("campaign.kind")} problem={problem}>
              {(input) => (
                <select {...input} value={draft.kind} onChange={(event) => set({ kind: event.currentTarget.value })}>
                  {["points", "coupon", "time_deal", "general"].map((kind) => <option key={kind} value={kind}>{word(`kind.${kind}`, kind)}</option>)}
                </select>
              )}
            </Field>
            <Field name="state" label={t("form.start")} problem={problem}>
              {(input) => (
                <select {...input} value={draft.start} onChange={(event) => set({ start: event.currentTarget.value })}>
                  <option value="">{t("form.startByTime")}</option>
                  <option value="draft">{t("form.startDraft")}</option>
                </select>
              )}
            </Field>
          </>
        )}
      </fieldset>
      <fieldset>
        <legend>{t("form.howMany")}</legend>
        {text("totalStock", "totalStock", "campaign.totalStock", { off: draft.unlimited })}
        {text("perUserLimit", "perUserLimit", "campaign.perUserLimit")}
        {text("maxQuantity", "maxQuantity", "campaign.maxQuantity")}
        <label class="check wide"><input type="checkbox" checked={draft.unlimited} onChange={(event) => set({ unlimited: event.currentTarget.checked })} />{t("form.unlimited")}</label>
      </fieldset>
      <fieldset>
        <legend>{t("form.when")}</legend>
        {text("opensAt", "opensAt", "campaign.opensAt", { kind: "time", hint: "form.opensHint" })}
        {text("closesAt", "closesAt", "campaign.closesAt", { kind: "time", hint: "form.closesHint" })}
      </fieldset>
      <fieldset>
        <legend>{t("form.payment")}</legend>
        {text("price", "price", "campaign.price", { hint: "form.priceHint" })}
        {text("holdSeconds", "holdSeconds", "campaign.holdSeconds", { hint: "form.holdHint" })}
        <label class="check wide"><input type="checkbox" checked={draft.cancellable} onChange={(event) => set({ cancellable: event.currentTarget.checked })} />{t("campaign.cancellable")}</label>
      </fieldset>
      <fieldset>
        <legend>{t("campaign.reward")}</legend>
        <Field name="reward" label={t("form.rewardKind")} problem={problem}>
          {(input) => (
            <select {...input} value={draft.reward} onChange={(event) => set({ reward: event.currentTarget.value as RewardKind })}>
              {(["none", "points", "coupon"] as const).map((kind) => <option key={kind} value={kind}>{t(`form.reward.${kind}`)}</option>)}
            </select>
          )}
        </Field>
        {draft.reward === "points" && text("points", "reward.points", "form.points")}
        {draft.reward === "coupon" && (
          <>
            {text("discountAmount", "reward.coupon.discountAmount", "form.discount")}
            {text("minimumOrderAmount", "reward.coupon.minimumOrderAmount", "form.minimumOrder")}
            {text("validFrom", "reward.coupon.validFrom", "form.validFrom", { kind: "time" })}
            {text("validUntil", "reward.coupon.validUntil", "form.validUntil", { kind: "time" })}
          </>
        )}
      </fieldset>
      <div class="buttons">
        <button class="primary" disabled={busy}>{id === null ? t("form.create") : t("form.save")}</button>
        <a class="button" href={id === null ? "#/campaigns" : `#/campaigns/${id}`}>{t("cancel")}</a>
      </div>
    </form>
  );
}

/** Lists the errors at the top, with links to the fields, and gets the focus. */
function Wrong({ problem }: { problem: Problem | null }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => { if (problem) box.current?.focus(); }, [problem]);
  if (!problem) return null;
  if (problem.errors.length === 0) return <div ref={box} tabIndex={-1}><Refused problem={problem} /></div>;
  const to = (field: string) => (event: Event) => {
    event.preventDefault();
    document.getElementById(`field-${field}`)?.focus();
  };
  return (
    <div ref={box} tabIndex={-1} class="notice is-bad" role="alert">
      <p>{t("form.wrong")}</p>
      <ul>{problem.errors.map(({ field, problem: said }) => <li key={field}><a href={`#field-${field}`} onClick={to(field)}>{word(`campaign.${field}`, field)}</a>: {fieldProblem(said)}</li>)}</ul>
    </div>
  );
}
