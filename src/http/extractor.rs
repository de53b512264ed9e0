//! Extractors of values from the head of a request.

/// Implements an extractor that needs no body: the type that the OpenAPI document gives it, the items of the document,
/// and how it is read.
macro_rules! extractor {
    ($(where $param:ident: $bound:path;)? $type:ty as $kind:ident($schema:ty) { $($item:item)* } |$request:ident| $read:expr) => {
        impl<'a $(, $param: $bound)?> poem_openapi::ApiExtractor<'a> for $type {
            const TYPES: &'static [poem_openapi::ApiExtractorType] =
                &[poem_openapi::ApiExtractorType::$kind];

            type ParamType = $schema;
            type ParamRawType = $schema;

            $($item)*

            async fn from_request(
                $request: &'a poem::Request,
                _body: &mut poem::RequestBody,
                _options: poem_openapi::ExtractParamOptions<$schema>,
            ) -> poem::Result<Self> {
                Ok($read?)
            }
        }
    };
}
pub(super) use extractor;
