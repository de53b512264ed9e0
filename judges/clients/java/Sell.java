import firstcome.ApiClient;
import firstcome.ApiException;
import firstcome.api.ParticipationsApi;
import firstcome.model.ConfirmRequest;
import firstcome.model.ParticipationRequest;
import firstcome.model.Problem;
import java.util.UUID;

class Sell {
  public static void main(String[] arguments) throws Exception {
    var client = new ApiClient();
    client.updateBaseUri(System.getenv().getOrDefault("BASE_URL", "http://127.0.0.1:8080"));
    client.setRequestInterceptor(request -> request.header("Authorization", "42"));
    var shop = new ParticipationsApi(client);
    var campaign = Long.valueOf(System.getenv("CAMPAIGN"));
    var key = UUID.randomUUID().toString();
    try {
      var place = Again.call(() -> shop.participate(campaign, key, null, new ParticipationRequest()));
      var paid = Again.call(() -> shop.confirmParticipation(place.getParticipationId(), new ConfirmRequest()));
      System.out.println(paid.getStatus());
    } catch (ApiException refused) {
      var problem = client.getObjectMapper().readValue(refused.getResponseBody(), Problem.class);
      System.out.println(problem.getCode() + ": " + problem.getDetail());
    }
  }
}
