// The current page: the part of the URL after the #, which no server receives.
import { Watched } from "./session";

export interface Place { path: string[]; query: URLSearchParams }

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean), query: new URLSearchParams(query) };
}

export const place = new Watched<Place>(read());
addEventListener("hashchange", () => { place.value = read(); });

export const go = (path: string): void => { location.hash = path; };
