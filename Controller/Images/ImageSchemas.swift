import HTTP

/// The schemas that clients may ask for before they show or change images.
enum ImageSchemas {
    static let all: [(name: String, schema: JSONValue)] = [
        ("image", image),
        (
            "images",
            [
                "name": "images",
                "properties": [
                    "images": ["type": "array", "items": image],
                    "first": ["type": "string"], "next": ["type": "string"],
                    "schema": ["type": "string"],
                ],
            ]
        ),
    ]

    private static let image: JSONValue = [
        "name": "image",
        "additionalProperties": ["type": "string"],
        "properties": [
            "id": text(readOnly: false), "name": text(readOnly: false),
            "status": choice(Image.Status.allCases.map(\.rawValue), readOnly: true),
            "visibility": choice(Image.Visibility.allCases.map(\.rawValue), readOnly: false),
            "protected": ["type": "boolean"], "os_hidden": ["type": "boolean"],
            "checksum": text(readOnly: true), "os_hash_algo": text(readOnly: true),
            "os_hash_value": text(readOnly: true), "owner": text(readOnly: true),
            "size": number(readOnly: true), "virtual_size": number(readOnly: true),
            "disk_format": choice(Image.DiskFormat.allCases.map(\.rawValue), readOnly: false),
            "container_format": choice(["bare"], readOnly: false),
            "min_disk": number(readOnly: false), "min_ram": number(readOnly: false),
            "created_at": text(readOnly: true), "updated_at": text(readOnly: true),
            "tags": ["type": "array", "items": ["type": "string", "maxLength": 255]],
            "self": text(readOnly: true), "file": text(readOnly: true),
            "schema": text(readOnly: true),
        ],
        "links": [
            ["rel": "self", "href": "{self}"], ["rel": "enclosure", "href": "{file}"],
            ["rel": "describedby", "href": "{schema}"],
        ],
    ]

    private static func text(readOnly: Bool) -> JSONValue {
        ["type": ["null", "string"], "maxLength": 255, "readOnly": .bool(readOnly)]
    }

    private static func number(readOnly: Bool) -> JSONValue {
        ["type": ["null", "integer"], "readOnly": .bool(readOnly)]
    }

    private static func choice(_ words: [String], readOnly: Bool) -> JSONValue {
        [
            "type": ["null", "string"], "enum": .array(words.map(JSONValue.string)),
            "readOnly": .bool(readOnly),
        ]
    }
}
