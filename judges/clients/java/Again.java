import firstcome.ApiException;
import java.util.Set;

/** Repeats after a lost connection (0), 408, 429 and 503, and waits as long as Retry-After says. */
class Again {
  interface Call<T> {
    T run() throws ApiException;
  }

  static <T> T call(Call<T> call) throws Exception {
    for (var attempt = 1; ; attempt++) {
      try {
        return call.run();
      } catch (ApiException failed) {
        if (attempt == 5 || !Set.of(0, 408, 429, 503).contains(failed.getCode())) throw failed;
        var headers = failed.getResponseHeaders();
        var after = headers == null ? null : headers.firstValue("Retry-After").orElse(null);
        Thread.sleep(after == null ? 100L << attempt : Long.parseLong(after) * 1000);
      }
    }
  }
}
