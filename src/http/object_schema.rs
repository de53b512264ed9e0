//! The schema of a JSON object, recorded while its fields are defined. It must not read values.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde_json::Value;

/// The properties of an object, in the order of their definition.
#[derive(Default)]
pub struct ObjectSchema {
    required: Vec<&'static str>,
    properties: Vec<Property>,
    registrations: Vec<fn(&mut Registry)>,
}

struct Property {
    name: &'static str,
    schema: MetaSchemaRef,
    /// Further schema of the object: a description and bounds.
    own: MetaSchema,
}

impl ObjectSchema {
    /// Adds a property of a type that the OpenAPI library knows.
    pub fn add<T: Type>(&mut self, name: &'static str, own: MetaSchema) {
        self.add_reference(name, (T::schema_ref(), T::register), own);
    }

    /// Adds a property by the reference to its schema, and what registers the schema.
    pub fn add_reference(
        &mut self,
        name: &'static str,
        (schema, register): (MetaSchemaRef, fn(&mut Registry)),
        own: MetaSchema,
    ) {
        self.registrations.push(register);
        self.properties.push(Property { name, schema, own });
    }

    /// Marks the last property as required.
    pub fn require(&mut self) {
        self.required
            .extend(self.properties.last().map(|property| property.name));
    }

    /// Further schema of the last property.
    pub fn last(&mut self) -> Option<&mut MetaSchema> {
        self.properties.last_mut().map(|property| &mut property.own)
    }

    /// The whole schema. The schemas that it refers to are registered.
    pub fn finish(
        self,
        name: &str,
        description: &'static str,
        example: Option<Value>,
        registry: &mut Registry,
    ) -> MetaSchema {
        for register in self.registrations {
            register(registry);
        }
        let properties = self.properties.into_iter();
        MetaSchema {
            title: Some(name.to_owned()),
            description: Some(description),
            required: self.required,
            properties: properties
                .map(|property| (property.name, property.schema.merge(property.own)))
                .collect(),
            example,
            ..MetaSchema::new("object")
        }
    }
}
