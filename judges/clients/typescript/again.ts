/** Repeats after a lost connection, 408, 429 and 503, and waits as long as Retry-After says. */
export async function again(request: Request): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(request.clone()).catch((lost) => (attempt === 5 ? Promise.reject(lost) : undefined));
    if (response && (attempt === 5 || ![408, 429, 503].includes(response.status))) return response;
    const seconds = Number(response?.headers.get("Retry-After")) || 0.1 * 2 ** attempt;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}
