// Chooses a campaign, by name or by number.
import { useGet } from "../live";
import { useAdmin } from "../session";
import type { Campaign, Page } from "../types";
import { Field } from "../ui";
import { t, word } from "../words";
import type { Problem } from "../api";

export function CampaignSelect({ id, onSelect, problem = null }: { id: number | null; onSelect: (id: number) => void; problem?: Problem | null }) {
  const admin = useAdmin(["campaign:read"]);
  const { data } = useGet<Page<Campaign>>(`/api/${admin ? "admin/" : ""}campaigns?limit=100`);
  const known = data?.items ?? [];
  const missing = id !== null && !known.some((one) => one.id === id);
  return (
    <Field name="campaignId" label={t("campaign.one")} problem={problem}>
      {(input) => (
        <select {...input} value={id === null ? "" : String(id)} onChange={(event) => { if (event.currentTarget.value) onSelect(Number(event.currentTarget.value)); }}>
          <option value="">{t("choose")}</option>
          {missing && <option value={String(id)}>#{id}</option>}
          {known.map((one) => <option key={one.id} value={String(one.id)}>{`#${one.id} ${one.name} (${word(`state.${one.state}`, one.state)})`}</option>)}
        </select>
      )}
    </Field>
  );
}
