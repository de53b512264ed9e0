import firstcome.*;
import firstcome.api.*;
import firstcome.model.CampaignKind;
import firstcome.model.CampaignState;
import firstcome.model.ConfirmRequest;
import firstcome.model.CreateCampaign;
import firstcome.model.OrderLineRequest;
import firstcome.model.OrderRequest;
import firstcome.model.OrderStatus;
import firstcome.model.ParticipationRequest;
import firstcome.model.ParticipationStatus;
import firstcome.model.Problem;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

/** Sells, pays and reads with the client that openapi-generator makes, and asserts every answer. */
class Client {
  static final long USER = Long.parseLong(System.getenv("USER_ID"));
  static final ApiClient BUYER = as(Long.toString(USER));
  static final CampaignsAdminApi ADMIN = new CampaignsAdminApi(as("Bearer " + System.getenv("ADMIN_TOKEN")));
  static final ParticipationsApi PARTICIPATIONS = new ParticipationsApi(BUYER);

  interface Call {
    Object run() throws ApiException;
  }

  static ApiClient as(String authorization) {
    var client = new ApiClient();
    client.updateBaseUri(System.getenv("BASE_URL"));
    client.setRequestInterceptor(request -> request.header("Authorization", authorization));
    return client;
  }

  static void same(Object expected, Object seen) {
    if (!expected.equals(seen)) throw new AssertionError("expected " + expected + ", seen " + seen);
  }

  static String header(ApiResponse<?> response, String name) {
    return response.getHeaders().get(name).get(0);
  }

  /** The problem of a rejection. */
  static Problem refusal(int status, Call call) throws Exception {
    try {
      throw new AssertionError("it was not rejected: " + call.run());
    } catch (ApiException refused) {
      same(status, refused.getCode());
      var problem = BUYER.getObjectMapper().readValue(refused.getResponseBody(), Problem.class);
      same(refused.getResponseHeaders().firstValue("x-request-id").orElseThrow(), problem.getInstance());
      return problem;
    }
  }

  static long open(long price, long stock) throws Exception {
    var body = new CreateCampaign().name("Typed").state(CampaignState.DRAFT).price(price).totalStock(stock).maxQuantity(1);
    var made = ADMIN.createCampaignWithHttpInfo(body);
    same(201, made.getStatusCode());
    same(price, made.getData().getPrice());
    var id = made.getData().getId();
    same("/api/admin/campaigns/" + id, header(made, "location"));
    same(CampaignState.OPEN, ADMIN.openCampaign(id).getState());
    return id;
  }

  static void sell(long campaign) throws Exception {
    var key = UUID.randomUUID().toString();
    var body = new ParticipationRequest().quantity(1);
    var first = PARTICIPATIONS.participateWithHttpInfo(campaign, key, null, body);
    var place = first.getData();
    same(201, first.getStatusCode());
    same(ParticipationStatus.RESERVED, place.getStatus());
    same(List.of(USER, 3_000_000_000L, 0L), List.of(place.getUserId(), place.getAmount(), place.getRemaining()));
    same("/api/participations/" + place.getParticipationId(), header(first, "location"));
    var repeated = PARTICIPATIONS.participateWithHttpInfo(campaign, key, null, body);
    same(201, repeated.getStatusCode());
    same(place, repeated.getData());
    same("true", header(repeated, "idempotency-replayed"));

    var paid = PARTICIPATIONS.confirmParticipation(place.getParticipationId(), new ConfirmRequest());
    same(ParticipationStatus.CONFIRMED, paid.getStatus());
    var read = PARTICIPATIONS.getParticipation(place.getParticipationId());
    same(paid.getPaymentReference(), read.getPaymentReference());
    same(0L, Duration.between(read.getCreatedAt(), OffsetDateTime.now()).abs().toHours());
    var own = PARTICIPATIONS.listParticipations(USER, null, null).getItems();
    same(place.getParticipationId(), own.get(0).getParticipationId());
    var stock = new CampaignsApi(BUYER).getStock(campaign);
    same(List.of(0L, true), List.of(stock.getCurrentStock(), stock.getSoldOut()));
  }

  static void reject(long campaign) throws Exception {
    var late = new ParticipationsApi(as(Long.toString(USER - 1)));
    same("SOLD_OUT", refusal(409, () -> late.participate(campaign, null, null, new ParticipationRequest())).getCode());
    var endless = new CreateCampaign().name("Without an end").kind(CampaignKind.TIME_DEAL);
    var wrong = refusal(422, () -> ADMIN.createCampaign(endless));
    same("INVALID", wrong.getCode());
    same("closesAt", wrong.getErrors().get(0).getField());
  }

  static void order(List<Long> campaigns) throws Exception {
    var orders = new OrdersApi(BUYER);
    var lines = campaigns.stream().map(campaign -> new OrderLineRequest().campaignId(campaign)).toList();
    var placed = orders.placeOrder(new OrderRequest().userId(USER).lines(lines), null, null);
    same(List.of(OrderStatus.RESERVED, 2500L, 2),
        List.of(placed.getStatus(), placed.getAmount(), placed.getLines().size()));
    var paid = orders.confirmOrder(placed.getOrderId(), new ConfirmRequest());
    same(OrderStatus.CONFIRMED, paid.getStatus());
    same(true, paid.getLines().stream().allMatch(line -> line.getParticipationId() != null));
  }

  static void page(List<Long> newest) throws Exception {
    var first = ADMIN.listCampaignsAsAdmin(null, null, 2, null);
    var second = ADMIN.listCampaignsAsAdmin(null, null, 2, first.getNextCursor());
    var seen = new ArrayList<Long>();
    first.getItems().forEach(campaign -> seen.add(campaign.getId()));
    second.getItems().forEach(campaign -> seen.add(campaign.getId()));
    same(newest, seen.subList(0, 3));
  }

  public static void main(String[] arguments) throws Exception {
    var dear = open(3_000_000_000L, 1);
    sell(dear);
    reject(dear);
    var lines = List.of(open(1000, 5), open(1500, 5));
    order(lines);
    page(List.of(lines.get(1), lines.get(0), dear));
  }
}
